"""Words that take the same number of tokens, in the tokenizer at hand."""

import functools
from collections.abc import Sequence
from typing import TypeVar

from tokenizers import Tokenizer

from clustersae.circuits.tasks.pairs import unknown_id

Option = TypeVar("Option", str, tuple[str, str])


class Fillers:
    """Searches words for the slots in which a prompt and its corruption differ."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unknown = unknown_id(tokenizer)
        self.size = functools.cache(self._size)
        self.known = functools.cache(self._known)
        self.alike = functools.cache(self._alike)
        self.matched = functools.cache(self._matched)

    def _size(self, word: str) -> tuple[int, int] | None:
        """Tokens of a word at the start of a text and behind another word.

        None where the tokenizer has no tokens for it.
        """
        alone, first, both = (self._ids(text) for text in (word, "a", f"a {word}"))
        return None if self._unknown in alone else (len(alone), len(both) - len(first))

    def _known(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Those words that the tokenizer has tokens for."""
        return tuple(word for word in words if self.size(word) is not None)

    def preferred(self, options: tuple[Option, ...]) -> tuple[Option, ...]:
        """Those of `options` (words, or couples of words) that the tokenizer has tokens for.

        All of them where it has none for any: what is made of them is then counted as lost.
        """
        known = (
            option
            for option in options
            if None not in map(self.size, (option,) if isinstance(option, str) else option)
        )
        return tuple(known) or options

    def _alike(self, word: str, words: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `words` that are of the size of `word`, and are not that word."""
        size = self.size(word)
        return tuple(
            other for other in self.known(words) if other != word and self.size(other) == size
        )

    def _matched(
        self, left: tuple[str, ...], right: tuple[str, ...]
    ) -> tuple[tuple[str, str], ...]:
        """Couples of a word on the left and a word on the right, of the same size.

        Every word has one partner: its counterpart at the same index if the sizes allow, else
        the first one that is free. So a prompt has one corruption, and pairs that share a prompt
        are few (see `splits`). Words that find no partner are left out.
        """
        couples = {one: other for one, other in zip(left, right) if other in self.alike(one, right)}
        for one in left:
            taken = set(couples.values())
            free = [other for other in self.alike(one, right) if other not in taken]
            if one not in couples and free:
                couples[one] = free[0]
        return tuple(couples.items())

    def told_apart(self, couples: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Couples of words of which neither begins with the tokens of the other."""
        ids = {word: self._ids(f"a {word}") for couple in couples for word in couple}
        return [
            (one, other)
            for one, other in couples
            if ids[one] != ids[other][: len(ids[one])] and ids[other] != ids[one][: len(ids[other])]
        ]

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids
