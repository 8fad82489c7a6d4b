"""Tiny random models of many families, each with the place of its blocks as a person reads it off.

They differ where it may matter: OPT counts positions from 2 and keeps its blocks in a decoder; Phi
and GPT-NeoX run attention and MLP side by side; Gemma 2 and 3 mix local and global attention, scale
the embedding and norm before and after each part; Qwen 3 norms queries and keys; OLMo 2 norms after
each part alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import transformers
from language_models import save_tiny_tokenizer

VOCAB_SIZE, N_CTX, N_LAYERS, D_MODEL = 50, 32, 4, 16


class Family(NamedTuple):
    """How a tiny model of a family is made."""

    config: Callable[..., transformers.PreTrainedConfig]
    blocks: str  # where its blocks are
    options: Mapping[str, Any] = MappingProxyType({})  # beyond the usual ones


_USUAL = {
    "vocab_size": VOCAB_SIZE, "hidden_size": D_MODEL, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": N_CTX,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None,
}  # fmt: skip
_GROUPED = {"num_key_value_heads": 2}
_LOCAL = {**_GROUPED, "head_dim": 8, "sliding_window": 6}
_LAYERS = "model.layers"

ZOO = {
    "gpt2": Family(transformers.GPT2Config, "transformer.h"),
    "gpt_neox": Family(transformers.GPTNeoXConfig, "gpt_neox.layers"),
    "llama": Family(transformers.LlamaConfig, _LAYERS, _GROUPED),
    "mistral": Family(transformers.MistralConfig, _LAYERS, {**_GROUPED, "sliding_window": 6}),
    "gemma2": Family(transformers.Gemma2Config, _LAYERS, _LOCAL),
    "gemma3": Family(transformers.Gemma3TextConfig, _LAYERS, _LOCAL),
    "qwen2": Family(transformers.Qwen2Config, _LAYERS, _GROUPED),
    "qwen3": Family(transformers.Qwen3Config, _LAYERS, {**_GROUPED, "head_dim": 8}),
    "opt": Family(
        transformers.OPTConfig, "model.decoder.layers", {"ffn_dim": 32, "word_embed_proj_dim": 16}
    ),
    "phi": Family(transformers.PhiConfig, _LAYERS),
    "phi3": Family(transformers.Phi3Config, _LAYERS, _GROUPED),
    "olmo2": Family(transformers.Olmo2Config, _LAYERS, _GROUPED),
}


def save_family(name: str, folder: Path) -> Path:
    """Write a model whose weights are large enough for every block to matter, and a tokenizer."""
    family = ZOO[name]
    config = family.config(**{**_USUAL, **family.options})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if weight.dim() == 2 and "embed" not in key and "wte" not in key and "wpe" not in key:
                weight.mul_(8)
    model.save_pretrained(folder)
    # Some tokenizers add tokens of their own.
    save_tiny_tokenizer(folder, n_words=VOCAB_SIZE - 4)
    return folder
