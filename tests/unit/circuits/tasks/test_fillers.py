from clustersae.circuits.tasks.fillers import Fillers
from clustersae.corpora.tokenizer import character_tokenizer, word_tokenizer

CHARACTERS = Fillers(character_tokenizer("abcdefghijklmnopqrstuvwxyz ").tokenizer)
WORDS = Fillers(word_tokenizer().tokenizer)


def test_the_size_of_a_word_is_its_tokens_at_the_start_and_within_a_text():
    assert CHARACTERS.size("cat") == (3, 4)  # the space counts
    assert WORDS.size("cat") == (1, 1)
    assert WORDS.size("1732") == (2, 2)
    assert WORDS.size("walrus") is None


def test_words_are_alike_when_their_sizes_are():
    words = ("cat", "dog", "horse", "Cat", "cat", "mouse")
    assert CHARACTERS.alike("cat", words) == ("dog",)
    assert CHARACTERS.alike("horse", words) == ("mouse",)
    assert CHARACTERS.alike("Cat", words) == ()


def test_a_word_is_matched_with_its_counterpart_or_else_with_one_other_word():
    singular, plural = ("man", "cat", "dog", "bear"), ("men", "cats", "dogs", "bears")
    assert CHARACTERS.matched(singular, plural) == (("man", "men"), ("bear", "cats"))
    assert CHARACTERS.matched(("man", "cats"), ("men", "dog")) == (("man", "men"),)
    assert WORDS.matched(("cat", "dog", "bear"), ("cats", "dogs", "bears")) == (
        ("cat", "cats"),
        ("dog", "dogs"),
    )


def test_words_without_tokens_are_used_only_where_there_are_no_others():
    assert WORDS.preferred(("walrus", "dog")) == ("dog",)
    assert WORDS.preferred(("walrus", "gnu")) == ("walrus", "gnu")
    assert WORDS.preferred((("walrus", "dogs"), ("dog", "dogs"))) == (("dog", "dogs"),)


def test_answers_are_told_apart_unless_one_begins_with_the_other():
    couples = (("does", "do"), ("is", "are"))
    assert CHARACTERS.told_apart(couples) == [("is", "are")]
    assert WORDS.told_apart((("knows", "know"), ("is", "are"))) == [
        ("knows", "know"),
        ("is", "are"),
    ]
