"""GPT-2's forward pass with an attention that the caller brings.

transformers' own asks the device at every call whether rows are packed, and under torch.compile
makes a mask that keeps attention from its fastest kernels. Its modules are used as they are, with
their dropout; only what happens between query, key and value is done here.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Model

#: Layer, query, key and value [..., n_heads, n, d_head] → what is attended to, of the same shape.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def residual_stream(model: GPT2Model, tokens: Tensor, places: Tensor, attend: Attend) -> Tensor:
    """The stream after the last block, before the last norm: [..., n, d_model].

    Args:
        tokens: ids [..., n].
        places: of the tokens, int64 [n].
    """
    n_heads = model.config.n_head
    x = model.drop(model.wte(tokens) + model.wpe(places))
    for layer, block in enumerate(model.h):
        heads = block.attn.c_attn(block.ln_1(x)).unflatten(-1, (3, n_heads, -1))
        query, key, value = (each.transpose(-3, -2) for each in heads.unbind(-3))
        attended = attend(layer, query, key, value).transpose(-3, -2).flatten(-2)
        x = x + block.attn.resid_dropout(block.attn.c_proj(attended))
        x = x + block.mlp(block.ln_2(x))
    return x


def last_hidden_state(model: GPT2Model, tokens: Tensor) -> Tensor:
    """What the model makes of whole rows: [..., n, d_model] after the last norm, of ids [..., n].

    No attention mask is needed for rows that are padded on the right: no position looks there.
    """
    dropout = model.config.attn_pdrop if model.training else 0.0

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)

    places = torch.arange(tokens.shape[-1], device=tokens.device)
    return model.ln_f(residual_stream(model, tokens, places, attend))
