"""The special tokens of a model's tokenizer, wherever they are written."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tokenizers import Tokenizer

#: What stood between the texts of pretraining, even where the end of a turn is EOS since.
END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")


class SpecialTokens(NamedTuple):
    """Which ids stand for no text."""

    bos_id: int | None
    eos_id: int | None  # what ends a text
    pad_id: int | None
    special_ids: tuple[int, ...]  # all of them, ascending
    adds_bos: bool  # the tokenizer itself puts BOS in front of a text


def special_tokens(
    theirs: Any,
    own: Tokenizer,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    vocab_size: int,
) -> SpecialTokens:
    """What transformers, the tokenizer's post-processor and, at last, config.json say.

    A token that the post-processor puts in front of a text is BOS, whatever it is called: the
    model was trained so. Configurations carry defaults that mean nothing for a small vocabulary:
    their ids count where the token looks like a special one. So do ids that transformers makes
    up, such as padding, where tokenizer.json does not know them.

    Args:
        theirs: as transformers' AutoTokenizer loads it.
        own: tokenizer.json, which reads the text here.
        settings: tokenizer_config.json; transformers forgets its add_bos_token.
        config: of the model.
        vocab_size: rows of the model's embedding; ids beyond it count as absent.
    """

    def known(number: Any) -> int | None:
        fits = type(number) is int and 0 <= number < vocab_size
        return number if fits and own.id_to_token(number) is not None else None

    flagged = {*theirs.all_special_ids, *_flagged(theirs.added_tokens_decoder)}
    flagged |= _flagged(own.get_added_tokens_decoder())
    flagged = {number for number in flagged if known(number) is not None}
    before, after = _added(theirs, flagged)

    def configured(key: str) -> int | None:
        values = config.get(key)
        for value in values if isinstance(values, list) else [values]:
            number = known(value)
            if number is not None and (number in flagged or _looks_special(own, number)):
                return number
        return None

    def first(numbers: Iterable[Any], key: str) -> int | None:
        found = [number for number in map(known, numbers) if number is not None]
        return found[0] if found else configured(key)

    bos_id = first([*before, theirs.bos_token_id], "bos_token_id")
    ends = [own.token_to_id(name) for name in END_OF_TEXT]
    ends = [number for number in ends if number in flagged]
    eos_id = first([*ends, theirs.eos_token_id, *after], "eos_token_id")
    pad_id = first([theirs.pad_token_id], "pad_token_id")
    named = [bos_id, eos_id, pad_id, *map(known, before + after)]
    flagged |= {number for number in named if number is not None}
    special_ids = tuple(sorted(flagged))
    adds_bos = bool(before) or (bos_id is not None and settings.get("add_bos_token") is True)
    return SpecialTokens(bos_id, eos_id, pad_id, special_ids, adds_bos)


def _flagged(added: Mapping[int, Any]) -> set[int]:
    return {number for number, token in added.items() if token.special}


def _added(theirs: Any, special: set[int]) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text by itself."""
    ordinary = next((i for i in range(len(theirs)) if i not in special), None)
    text = "a" if ordinary is None else theirs.decode([ordinary]) or "a"
    plain = list(theirs(text, add_special_tokens=False)["input_ids"])
    full = list(theirs(text)["input_ids"])
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start], full[start + len(plain) :]
    return [], []


def _looks_special(own: Tokenizer, number: int) -> bool:
    return re.fullmatch(r"<.+>|\[.+\]", own.id_to_token(number) or "") is not None
