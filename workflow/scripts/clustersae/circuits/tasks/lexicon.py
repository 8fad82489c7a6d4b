"""Common English words to fill the slots of tasks with.

The shorter and commoner a word, the likelier it is that a small model has learnt it and that its
tokenizer has a token for it.
"""

from clustersae.corpora import toy_lexicon

FEMALE = (
    *toy_lexicon.FEMALE,
    *("Mia", "Sue", "Amy", "Ella", "Lisa", "Sally", "Molly", "Daisy", "Ruth", "Helen"),
)
MALE = (
    *toy_lexicon.MALE,
    *("Tim", "Ben", "Max", "Sam", "Bob", "Joe", "Dan", "Billy", "Mike", "Fred"),
)
NAMES = FEMALE + MALE

PLACES, OBJECTS, EVENTS = toy_lexicon.PLACES, toy_lexicon.OBJECTS, toy_lexicon.EVENTS
CENTURIES, YEARS = toy_lexicon.CENTURIES, toy_lexicon.YEARS

WOMEN = ("girl", "woman", "queen", "sister", "mother", "princess", "lady", "aunt", "daughter")
MEN = ("boy", "man", "king", "brother", "father", "prince", "lord", "uncle", "son")
TRAITS = ("little", "young", "kind", "happy", "good", "nice", "brave", "clever")

_REGULAR_NOUNS = (
    *("boy", "girl", "dog", "cat", "bird", "horse", "bear", "frog", "duck", "rabbit", "king"),
    *("queen", "brother", "sister", "mother", "father", "friend", "teacher", "doctor", "farmer"),
    *("driver", "singer", "baker", "painter", "pilot", "uncle", "aunt", "kid", "guard", "lawyer"),
)
#: Singular and plural of those who can do something.
NOUNS = (
    *((noun, f"{noun}s") for noun in _REGULAR_NOUNS),
    *(("man", "men"), ("woman", "women"), ("child", "children"), ("mouse", "mice")),
)
#: Singular and plural of what can stand beside them.
THINGS = tuple(
    (thing, f"{thing}s")
    for thing in (
        "tree",
        "car",
        "table",
        "chair",
        "desk",
        "truck",
        "window",
        "bike",
        "house",
        "toy",
    )
)
ADJECTIVES = ("big", "small", "old", "young", "happy", "sad", "little", "red")
PREPOSITIONS = ("near", "behind", "beside", "next to")
#: Third person singular and plural, of verbs that take an object.
VERBS = tuple((singular, plural) for singular, plural, _ in toy_lexicon.VERBS)
#: Third person singular and plural, of verbs that may follow any noun.
ANSWER_VERBS = (("is", "are"), ("was", "were"), ("has", "have"), ("does", "do"), ("goes", "go"))

#: Marks that open and close; `[[` and `{{` are those of Wikipedia's own text.
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("[[", "]]"), ("{{", "}}"))
QUOTES = (('"', '"'), ("'", "'"))

#: Words without a context in common, to be put in random order.
RANDOM_WORDS = tuple(
    dict.fromkeys((*NAMES, *PLACES, *OBJECTS, *ADJECTIVES, *(one for one, _ in (*NOUNS, *THINGS))))
)
