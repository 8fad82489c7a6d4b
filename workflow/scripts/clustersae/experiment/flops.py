"""Floating-point operations of SAE training, counted from the products that a step makes.

One multiply-add is two operations. Left out: TopK, the optimiser (about 20 per parameter and
batch, not per activation) and AuxK, which only works while latents are dead.
"""


def sparse_flops(d_model: int, d_sae: int, k: int) -> int:
    """Per activation, as trained here: a dense encoder, everything else on k latents.

    2·d_model·d_sae for the encoder, and 2·k·d_model each for decoding and for the gradients of
    W_dec, of the latents and of W_enc.
    """
    return 2 * d_model * d_sae + 8 * k * d_model


def dense_flops(d_model: int, d_sae: int) -> int:
    """Per activation with dense products: 10·d_model·d_sae, the T of Group-SAE's cost model."""
    return 10 * d_model * d_sae


def matched_width(d_sae: int, k: int, share: float) -> int:
    """The d_sae whose training takes `share` of the operations of the given one, at the same k.

    sparse_flops is 2·d_model·(d_sae + 4k): what k latents cost does not shrink with the width.
    """
    return max(1, round(share * d_sae - 4 * k * (1 - share)))
