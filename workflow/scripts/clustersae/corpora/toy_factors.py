"""The generating factors of toy English as a table, and as labels of tokens."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from clustersae.corpora.toy_english import Sentence


def factor_table(sentences: Mapping[str, Iterable[Sentence]]) -> pd.DataFrame:
    """One line per factor of a row: split, row, position, factor, value.

    `position` is the first token (0 is BOS) at which the factor is known. Besides the factors of
    the grammar there are `family`, true of the whole row, and `answer`, the word that is asked
    for, from the last token of the prompt on.
    """
    lines = [
        (split, row, *fact)
        for split, rows in sentences.items()
        for row, sentence in enumerate(rows)
        for fact in _facts(sentence)
    ]
    table = pd.DataFrame(lines, columns=["split", "row", "position", "factor", "value"])
    kinds = {"split": "category", "row": "int32", "position": "int16"}
    return table.astype({**kinds, "factor": "category", "value": "category"})


def token_labels(
    table: pd.DataFrame, split: str, factor: str, n_rows: int, n_ctx: int
) -> tuple[np.ndarray, list[str]]:
    """The value of a factor at every token at which it is known.

    Returns:
        Codes int16 [n_rows, n_ctx], -1 before the factor is known and in rows without it (padding
        is labelled like the end of its row), and the values that the codes index, sorted.
    """
    lines = table[(table["split"] == split) & (table["factor"] == factor)]
    lines = lines[lines["row"] < n_rows]
    values, places = np.unique(lines["value"].to_numpy(dtype=object), return_inverse=True)
    codes = np.full((n_rows, n_ctx), -1, dtype=np.int16)
    known_from = np.full(n_rows, n_ctx)
    value = np.full(n_rows, -1, dtype=np.int16)
    rows = lines["row"].to_numpy()
    known_from[rows] = lines["position"].to_numpy()
    value[rows] = places
    known = np.arange(n_ctx) >= known_from[:, None]
    np.copyto(codes, value[:, None], where=known)
    return codes, values.tolist()


def _facts(sentence: Sentence) -> Iterable[tuple[int, str, str]]:
    yield 0, "family", sentence.family
    for factor in sentence.factors:
        yield factor.position, factor.name, factor.value
    if sentence.prompt_length is not None:
        yield sentence.prompt_length, "answer", sentence.words[sentence.prompt_length]
