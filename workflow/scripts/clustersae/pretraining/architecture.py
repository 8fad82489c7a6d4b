"""The GPT-2 that is trained here."""

import math
from dataclasses import dataclass

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from clustersae.runtime.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """The shape of the model, and how it begins."""

    n_layers: int
    d_model: int
    n_heads: int
    n_ctx: int
    bias: bool = True  # of linear maps and layer norms; without, biases are zero and stay so
    initializer_range: float | None = None  # of weights; None: GPT-2's, scaled to the width


def build_model(
    architecture: Architecture,
    vocab_size: int,
    bos_id: int | None,
    pad_id: int | None,
    seed: int,
    dropout: float = 0.0,
) -> GPT2LMHeadModel:
    """A GPT-2 with tied embeddings, on the CPU, initialised from `seed`.

    Weights are drawn from N(0, initializer_range²); those that write to the residual stream from
    N(0, initializer_range² / (2 n_layers)) (Radford et al. 2019). transformers' GPT-2 has biases,
    so a model without them has biases of zero that no optimiser touches.

    Raises:
        InputError: d_model is not a multiple of n_heads.
    """
    if architecture.d_model % architecture.n_heads:
        raise InputError(
            f"d_model {architecture.d_model} is not a multiple of n_heads {architecture.n_heads}:"
            " choose another of the two."
        )
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=architecture.n_ctx,
        n_embd=architecture.d_model,
        n_layer=architecture.n_layers,
        n_head=architecture.n_heads,
        # GPT-2's 0.02 belongs to its d_model of 768; a narrow model with it hardly starts to learn.
        initializer_range=architecture.initializer_range
        or 0.02 * math.sqrt(768 / architecture.d_model),
        # The exact formula; on a CPU several times cheaper than GPT-2's with tanh.
        activation_function="gelu",
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=bos_id,
        eos_token_id=None,
        pad_token_id=pad_id,
        use_cache=False,
        attn_implementation="sdpa",  # type: ignore[call-arg]  # read by the base class
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
    if not architecture.bias:
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.requires_grad_(False).zero_()
    return model
