"""Tokens as text that a person can read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from clustersae.runtime.errors import InputError


class Words(NamedTuple):
    """The tokens of a text as strings, each kind once."""

    strings: list[str]  # [n_kinds]
    kind: np.ndarray  # int [n_tokens], the kind of every token


def read_words(path: Path, tokens: np.ndarray) -> Words:
    """Each token as it stands inside a sentence, with the space before it.

    Laid end to end they are the text again, except where the tokenizer has no decoder: there a
    token is a whole word, and spaces go between all of them.

    Args:
        path: tokenizer.json.
        tokens: ids [n_tokens].
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; it is made with the model, so run that again.")
    tokenizer = Tokenizer.from_file(str(path))
    kinds, index = np.unique(tokens, return_inverse=True)
    return Words([_string(tokenizer, token) for token in kinds.tolist()], index)


def _string(tokenizer: Tokenizer, token: int) -> str:
    piece = tokenizer.id_to_token(token)
    if piece is None:
        # A model may have more embeddings than its tokenizer has tokens.
        return f"<{token}>"
    if tokenizer.decoder is None:
        return piece
    # Decoders drop the space at the start of a text, so the second of two tokens is looked at.
    alone = tokenizer.decode([token], skip_special_tokens=False)
    twice = tokenizer.decode([token, token], skip_special_tokens=False)
    return twice[len(alone) :] or piece
