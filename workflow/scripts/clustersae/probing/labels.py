"""Labels of tokens that need no download: generating factors, and what the text itself shows.

Every label is true or false of each token. Those of the text look at the row up to the token, which
is what the model has seen, and at no dictionary, so that they exist for any language and tokenizer.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from clustersae.corpora.tokens import TokenFile
from clustersae.corpora.toy_factors import token_labels
from clustersae.experiment.probes import LEAST
from clustersae.latents.sequences import Text
from clustersae.latents.words import read_words

#: Tokens after the end of a sentence from which on a token stands late in the next one.
LATE = 10

_SENTENCE_ENDS = tuple(".!?。！？।؟")
_QUOTES = '"“”„«»「」'


class Labelled(NamedTuple):
    """Tokens of one label, half of which have it."""

    name: str
    train: np.ndarray  # int [n], places in the validation text, ascending
    test: np.ndarray  # int [m], places in the test text
    train_holds: np.ndarray  # bool [n]
    test_holds: np.ndarray  # bool [m]


def find_labels(
    train: Mapping[str, np.ndarray],
    test: Mapping[str, np.ndarray],
    n_tokens: int,
    generator: np.random.Generator,
) -> list[Labelled]:
    """Labels that are common enough in both texts, with as many tokens that have them as have not.

    Tokens are drawn in one random order for all labels, so that labels share as many as they can.

    Args:
        train, test: name → whether it holds, bool [n_tokens of the text].
        n_tokens: of each label and text, at most.
    """
    found: list[Labelled] = []
    told: set[bytes] = set()
    orders = [generator.permutation(len(next(iter(each.values()), ()))) for each in (train, test)]
    for name in sorted(train.keys() & test.keys()):
        # In some texts two labels are one, or one is the other's opposite.
        same = {train[name].tobytes(), (~train[name]).tobytes()}
        if told & same:
            continue
        told |= same
        places = []
        for holds, order in zip((train[name], test[name]), orders):
            number = min(int(holds.sum()), int((~holds).sum()), n_tokens // 2)
            halves = [order[holds[order] == value][:number] for value in (True, False)]
            places.append(np.sort(np.concatenate(halves)))
        if min(map(len, places)) >= 2 * LEAST:
            own, other = (each[name][rows] for each, rows in zip((train, test), places))
            found.append(Labelled(name, places[0], places[1], own, other))
    return found


def factor_labels(
    table: pd.DataFrame, texts: Mapping[str, Text], known: Sequence[str] = ("validation", "test")
) -> list[dict[str, np.ndarray]]:
    """For every factor of toy English the value that holds most nearly half of the time.

    Of a factor with many values one is enough: probes are means over labels.

    Args:
        table: `corpora.toy_factors.factor_table`; texts: by the name of their split.

    Returns:
        "factor: value" → bool [n_tokens], for each of the splits `known`.
    """
    result: list[dict[str, np.ndarray]] = [{} for _ in known]
    for factor in sorted(table["factor"].unique()):
        values: list[dict[str, np.ndarray]] = []
        for split in known:
            text = texts[split]
            shape = int(text.sequence.max()) + 1, int(text.position.max()) + 1
            codes, names = token_labels(table, split, factor, *shape)
            own = codes[text.sequence, text.position]
            values.append({name: own == code for code, name in enumerate(names)})
        shared = sorted(set.intersection(*map(set, values)))
        if shared:
            best = min(shared, key=lambda name: abs(float(values[0][name].mean()) - 0.5))
            for found, own in zip(result, values):
                found[f"{factor}: {best}"] = own[best]
    return result


def text_labels(text: Text, file: TokenFile, tokenizer: Path) -> dict[str, np.ndarray]:
    """What the rows of a text show at its tokens: name → bool [n_tokens].

    Args:
        file: the token file of the text's split.
        tokenizer: tokenizer.json, which says what tokens look like.
    """
    rows, index = np.unique(text.sequence, return_inverse=True)
    ids = file.tokens[rows].numpy().astype(np.int64)
    special = np.isin(ids, file.vocabulary.excluded_ids)
    words = read_words(tokenizer, ids.ravel(), in_bytes=False)
    strings = words.strings
    if Tokenizer.from_file(str(tokenizer)).decoder is None:
        strings = [f" {string}" for string in strings]  # a token is a word
    kinds = words.kind.reshape(ids.shape)
    return {
        name: holds[index, text.position]
        for name, holds in _labels_of_rows(ids, kinds, strings, special).items()
    }


def _labels_of_rows(
    ids: np.ndarray, kinds: np.ndarray, strings: Sequence[str], special: np.ndarray
) -> dict[str, np.ndarray]:
    """Every label at every token of whole rows, bool [n_rows, n_ctx].

    Args:
        kinds: of the tokens, an index of `strings`; special: those that are no text.
    """

    def each(shows: Callable[[str], bool]) -> np.ndarray:
        return np.array([shows(string) for string in strings], dtype=bool)[kinds] & ~special

    spaced = each(lambda string: string[:1].isspace())
    letter = each(lambda string: string.strip()[:1].isalnum())
    goes_on = each(lambda string: string[-1:] == "'" or any(map(_in_words, string[-1:])))
    ends = each(lambda string: string.strip().endswith(_SENTENCE_ENDS)) | special
    quotes = np.array([sum(map(string.count, _QUOTES)) for string in strings])[kinds] * ~special

    column = np.arange(ids.shape[1])
    last_end = np.maximum.accumulate(np.where(_before(ends), column, 0), axis=1)
    since = column - last_end  # 0 right after the end of a sentence
    return {
        "capitalised": each(lambda string: string.strip()[:1].isupper()),
        "number": each(lambda string: any(map(str.isdigit, string))),
        "punctuation": each(
            lambda string: (
                bool(string.strip())
                and not any(_in_words(letter) or letter == "\ufffd" for letter in string)
            )
        ),
        "begins a word": letter & (spaced | ~_before(goes_on)),
        "begins a sentence": (since == 0) & ~ends,
        "late in a sentence": since >= LATE,
        "in quotation marks": _before(quotes.cumsum(1) % 2 == 1),
        "seen before in its row": _seen(ids) & ~special,
    }


def _in_words(character: str) -> bool:
    """Whether it is a letter, a digit, or a mark on one, as the vowel signs of Hindi are."""
    return unicodedata.category(character)[0] in "LMN"


def _before(holds: np.ndarray) -> np.ndarray:
    """Whether something holds at the token before; at the first of a row nothing does."""
    return np.pad(holds, ((0, 0), (1, 0)))[:, :-1]


def _seen(ids: np.ndarray) -> np.ndarray:
    """Whether a token has occurred in its row before."""
    seen = np.ones(ids.shape, dtype=bool)
    for row, own in zip(seen, ids):
        row[np.unique(own, return_index=True)[1]] = False
    return seen
