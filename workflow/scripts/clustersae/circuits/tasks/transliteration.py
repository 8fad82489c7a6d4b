"""Prompts in the letters of a model that knows only a to z and the blank.

text8 is English Wikipedia made so by its author's script (M. Mahoney, mattmahoney.net/dc/textdata):
lower case, digits spelled, and every other run of characters one blank. A model of it would take
the prompts of tasks for unknown tokens; it gets them as that script would have written them.
"""

import string

from tokenizers import Regex, Tokenizer, normalizers

from clustersae.corpora.tokenizer import LoadedTokenizer

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = set(string.ascii_lowercase + " ")


def in_its_letters(loaded: LoadedTokenizer) -> LoadedTokenizer:
    """A tokenizer that spells text as text8 does, if the letters of `loaded` are those of text8.

    Any other tokenizer comes back as it is. Where a prompt ends in a digit or a mark it ends in a
    blank, so that what follows does not change its spelling.
    """
    tokenizer = loaded.tokenizer
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    if set(tokenizer.get_vocab()) - special != LETTERS:
        return loaded
    spelling = Tokenizer.from_str(tokenizer.to_str())
    spelling.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            *(normalizers.Replace(str(digit), f" {word} ") for digit, word in enumerate(DIGITS)),
            normalizers.Replace(Regex("[^a-z]+"), " "),
        ]
    )
    return loaded._replace(tokenizer=spelling)
