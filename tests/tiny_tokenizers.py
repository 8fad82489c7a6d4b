"""Small tokenizers of the kinds that models bring, as folders that transformers reads."""

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran"]


def word_level(names: list[str], special: list[str], unk: str | None = None) -> Tokenizer:
    """One token per word of `names`, which lie in that order; those in `special` are special."""
    ids = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=unk or names[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    return tokenizer


def bytes_level(special: list[str]) -> Tokenizer:
    """One token per byte, as GPT-2's without merges; special tokens come last, as there."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    return tokenizer


def like_llama() -> Tokenizer:
    """Letters joined to words that begin with a blank, bytes where there is no letter."""
    letters = [f"<0x{byte:02X}>" for byte in range(256)] + list("▁abcdefghijklmnopqrstuvwxyz")
    merges = [("▁", "a"), ("t", "h"), ("th", "e"), ("▁", "the")]
    names = ["<unk>", "<s>", "</s>", *letters, *map("".join, merges)]
    ids = {name: index for index, name in enumerate(names)}
    model = models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names[:3]])
    return tokenizer


def puts(tokenizer: Tokenizer, template: str) -> Tokenizer:
    """The tokenizer with a post-processor, e.g. "<s> $A"."""
    names = [name for name in template.split() if name != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names]
    )
    return tokenizer


def save(
    folder: Path,
    tokenizer: Tokenizer,
    config: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    special_map: dict[str, Any] | None = None,
) -> Path:
    """Write the tokenizer's files, and a config.json with `model` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocab_size = tokenizer.get_vocab_size()
    files = {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **(config or {})},
        "config.json": {"model_type": "gpt2", "vocab_size": vocab_size, **(model or {})},
        "special_tokens_map.json": special_map,
    }
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder
