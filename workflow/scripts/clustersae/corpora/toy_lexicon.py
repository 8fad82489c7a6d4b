"""The words of toy English, by kind."""

PAD, BOS, UNK = "<pad>", "<bos>", "<unk>"

FEMALE = ("Mary", "Anna", "Lily", "Kate", "Jane", "Emma", "Alice", "Sarah", "Rose", "Lucy")
MALE = ("John", "Tom", "Paul", "Mark", "James", "Peter", "Adam", "David", "Henry", "Jack")
NAMES = FEMALE + MALE
GENDER = dict.fromkeys(FEMALE, "female") | dict.fromkeys(MALE, "male")
PRONOUN = {"female": "she", "male": "he"}

PLACES = ("shop", "park", "school", "garden", "station", "market", "house", "church")
OBJECTS = ("drink", "book", "ring", "ball", "letter", "cake", "coat", "key")
EVENTS = ("war", "siege", "voyage", "strike", "trial", "famine")
ADJECTIVES = ("big", "small", "old", "young", "happy", "sad")
PREPOSITIONS = ("near", "behind", "beside", "with")
GIVING = ("gave", "handed", "sold")

NUMBERS = ("singular", "plural")  # the order of the two forms below
_NOUN_STEMS = (
    *("dog", "cat", "bird", "horse", "farmer", "teacher"),
    *("doctor", "pilot", "baker", "painter", "singer", "driver"),
)
NOUNS = tuple((stem, f"{stem}s") for stem in _NOUN_STEMS)
#: Singular, plural, past.
VERBS = (
    ("sees", "see", "saw"),
    ("likes", "like", "liked"),
    ("helps", "help", "helped"),
    ("follows", "follow", "followed"),
    ("hears", "hear", "heard"),
    ("knows", "know", "knew"),
)
BE, BE_PAST, HAVE = ("is", "are"), ("was", "were"), ("has", "have")

#: The last two digits of a year are one token, and so are the first two.
YEARS = tuple(f"{year:02d}" for year in range(100))
CENTURIES = tuple(str(century) for century in range(11, 19))
FIRST_YEARS = tuple(f"{year:02d}" for year in range(2, 99))  # earlier and later years exist

_FUNCTION_WORDS = (
    *(".", ",", "the", "The", "a", "and", "to", "from", "at", "that", "because", "he", "she"),
    *("When", "After", "Then", "Today", "Yesterday", "In", "went", "were", "was", "lasted"),
)

#: Every word; its index is its token id.
VOCABULARY = tuple(
    dict.fromkeys(
        [
            *(PAD, BOS, UNK),
            *_FUNCTION_WORDS,
            *NAMES,
            *(PLACES + OBJECTS + EVENTS + ADJECTIVES + PREPOSITIONS + GIVING),
            *(form for forms in (*NOUNS, *VERBS, BE, BE_PAST, HAVE) for form in forms),
            *YEARS,
        ]
    )
)
