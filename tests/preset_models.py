"""The models of presets in small: random weights, the same architecture and kind of tokenizer.

They lie in a cache of the Hugging Face Hub under the commit that a preset names, so that a run
reads them as if they had been downloaded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from tiny_tokenizers import bytes_level, like_llama, puts, save
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

D_MODEL, N_CTX = 64, 1024
_USUAL = {
    "hidden_size": D_MODEL, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": N_CTX, "tie_word_embeddings": True, "pad_token_id": None,
}  # fmt: skip
_GROUPED = {"num_key_value_heads": 2, "head_dim": 16}


class Small(NamedTuple):
    """How a preset's model is made small.

    Attributes:
        config: of transformers; options: beyond the usual ones.
        tokenizer: of the kind that the model has; settings: of its tokenizer_config.json.
    """

    config: Callable[..., transformers.PreTrainedConfig]
    options: dict[str, Any]
    tokenizer: Callable[[], Tokenizer]
    settings: dict[str, Any]


def _gpt2() -> Tokenizer:
    return bytes_level(["<|endoftext|>"])


def _llama3() -> Tokenizer:
    tokenizer = bytes_level(["<|begin_of_text|>", "<|end_of_text|>"])
    return puts(tokenizer, "<|begin_of_text|> $A")


def _qwen() -> Tokenizer:
    tokenizer = bytes_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(r"\p{N}|[^\s\p{L}\p{N}]+|\s?\p{L}+|\s+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return tokenizer


def _gemma() -> Tokenizer:
    """As Llama's first one, without a blank in front of a text; <pad>, <eos>, <bos> come first."""
    old = like_llama()
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    names = [name for name in old.get_vocab() if name not in ("<unk>", "<s>", "</s>")]
    ids = {name: index for index, name in enumerate([*special, *sorted(names)])}
    merges = [("▁", "a"), ("t", "h"), ("th", "e"), ("▁", "the")]
    model = models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = old.decoder
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    return puts(tokenizer, "<bos> $A")


def _named(kind: str, **tokens: str) -> dict[str, Any]:
    return {"tokenizer_class": kind, **{f"{key}_token": value for key, value in tokens.items()}}


_END = "<|endoftext|>"
_PYTHIA = Small(
    transformers.GPTNeoXConfig,
    {"num_hidden_layers": 4, "rotary_pct": 0.25, "tie_word_embeddings": False},
    _gpt2,
    _named("GPTNeoXTokenizer", bos=_END, eos=_END, unk=_END),
)
SMALL = {
    "pythia-160m": _PYTHIA,
    "pythia-410m": _PYTHIA,
    "pythia-1b": _PYTHIA,
    "gpt2-small": Small(
        transformers.GPT2Config,
        {"n_embd": D_MODEL, "n_layer": 2, "n_head": 4, "n_positions": N_CTX},
        _gpt2,
        _named("GPT2Tokenizer", bos=_END, eos=_END, unk=_END),
    ),
    "llama-3.2-1b": Small(
        transformers.LlamaConfig,
        {"num_hidden_layers": 4, **_GROUPED},
        _llama3,
        _named("PreTrainedTokenizerFast", bos="<|begin_of_text|>", eos="<|end_of_text|>"),
    ),
    "gemma-2-2b": Small(
        transformers.Gemma2Config,
        {"num_hidden_layers": 4, "sliding_window": 16, **_GROUPED},
        _gemma,
        _named("GemmaTokenizer", bos="<bos>", eos="<eos>", unk="<unk>", pad="<pad>"),
    ),
    "qwen3-0.6b": Small(
        transformers.Qwen3Config,
        {"num_hidden_layers": 4, **_GROUPED},
        _qwen,
        _named("Qwen2Tokenizer", eos=_END, pad=_END),
    ),
}


def save_in_cache(name: str, cache: Path, repository: str, commit: str) -> Path:
    """The small model of a preset, where the Hub's library looks for that commit; its folder."""
    small = SMALL[name]
    folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    tokenizer = small.tokenizer()
    ids = {
        f"{key}_id": tokenizer.token_to_id(small.settings[key]) if key in small.settings else None
        for key in ("bos_token", "eos_token", "pad_token")
    }
    usual = {} if small.config is transformers.GPT2Config else _USUAL
    usual = {**usual, "vocab_size": tokenizer.get_vocab_size()}
    config = small.config(**{**usual, **ids, **small.options})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # as large as makes every block matter
        for key, weight in model.named_parameters():
            if weight.dim() == 2 and not any(each in key for each in ("emb", "wte", "wpe")):
                weight.mul_(4)
    save(folder, tokenizer, small.settings)
    model.save_pretrained(folder)  # replaces the config.json of `save`
    return folder
