"""GPT-2's forward pass with an attention that the caller brings.

transformers' own asks the device at every call whether rows are packed, and under torch.compile
makes a mask that keeps attention from its fastest kernels. Its modules are used as they are, with
their dropout; only what happens between query, key and value is done here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Model

#: Query, key and value [..., n_heads, n, d_head] → what is attended to, of the same shape.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]

#: A block of a model, and the stream [..., n, d_model] before it → the stream after it.
BlockFunction = Callable[[nn.Module, Tensor], Tensor]


def embedded(model: GPT2Model, tokens: Tensor, places: Tensor) -> Tensor:
    """The stream before the first block, [..., n, d_model], of ids [..., n] at places int64 [n]."""
    return model.drop(model.wte(tokens) + model.wpe(places))


def after_block(block: Any, x: Tensor, attend: Attend) -> Tensor:
    """The stream [..., n, d_model] after a block of GPT-2, of the stream `x` before it."""
    heads = block.attn.c_attn(block.ln_1(x)).unflatten(-1, (3, block.attn.num_heads, -1))
    query, key, value = (each.transpose(-3, -2) for each in heads.unbind(-3))
    attended = attend(query, key, value).transpose(-3, -2).flatten(-2)
    x = x + block.attn.resid_dropout(block.attn.c_proj(attended))
    return x + block.mlp(block.ln_2(x))


def after_causal_block(block: Any, x: Tensor) -> Tensor:
    """The stream after a block in which every position looks at itself and at those before it."""
    dropout = block.attn.attn_dropout.p if block.training else 0.0

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)

    return after_block(block, x, attend)


def last_hidden_state(
    model: GPT2Model, tokens: Tensor, after: BlockFunction = after_causal_block
) -> Tensor:
    """What the model makes of whole rows: [..., n, d_model] after the last norm, of ids [..., n].

    No attention mask is needed for rows that are padded on the right: no position looks there.

    Args:
        after: `after_causal_block`, or that function compiled.
    """
    x = embedded(model, tokens, torch.arange(tokens.shape[-1], device=tokens.device))
    for block in model.h:
        x = after(block, x)
    return model.ln_f(x)
