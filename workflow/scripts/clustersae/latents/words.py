"""Tokens as text that a person can read."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from clustersae.runtime.errors import InputError

# Byte-level tokenizers write bytes that are no visible letters of latin-1 as letters beyond it.
_SEEN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_UNSEEN = [byte for byte in range(0x100) if byte not in _SEEN]
_BYTES = {chr(byte): byte for byte in _SEEN}
_BYTES |= {chr(0x100 + place): byte for place, byte in enumerate(_UNSEEN)}


class Words(NamedTuple):
    """The tokens of a text as strings, each kind once."""

    strings: list[str]  # [n_kinds]
    kind: np.ndarray  # int [n_tokens], the kind of every token


def read_words(path: Path, tokens: np.ndarray, in_bytes: bool = True) -> Words:
    """Each token as it stands inside a sentence, with the space before it.

    Laid end to end they are the text again, except where the tokenizer has no decoder: there a
    token is a whole word, and spaces go between all of them. Parts of characters are spelled out in
    bytes, as in \\xf0\\x9f, since different tokens must look different.

    Args:
        path: tokenizer.json.
        tokens: ids [n_tokens].
        in_bytes: else parts of characters are all U+FFFD, which is no letter, digit or mark.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; it is made with the model, so run that again.")
    tokenizer = Tokenizer.from_file(str(path))
    kinds, index = np.unique(tokens, return_inverse=True)
    return Words([_string(tokenizer, token, in_bytes) for token in kinds.tolist()], index)


def _string(tokenizer: Tokenizer, token: int, in_bytes: bool) -> str:
    piece = tokenizer.id_to_token(token)
    if piece is None:
        # A model may have more embeddings than its tokenizer has tokens.
        return f"<{token}>"
    if tokenizer.decoder is None:
        return piece
    # Decoders drop the space at the start of a text, so the second of two tokens is looked at.
    alone = tokenizer.decode([token], skip_special_tokens=False)
    if in_bytes and "\ufffd" in alone and (content := _bytes_of(piece)):
        return content.decode("utf-8", "backslashreplace")
    twice = tokenizer.decode([token, token], skip_special_tokens=False)
    return twice[len(alone) :] or piece


def _bytes_of(piece: str) -> bytes:
    """What a token stands for, where it is written in bytes; nothing where it is not."""
    if single := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):  # SentencePiece
        return bytes.fromhex(single[1])
    return bytes(_BYTES[letter] for letter in piece) if _BYTES.keys() >= set(piece) else b""
