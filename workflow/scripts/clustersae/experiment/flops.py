"""Floating-point operations of SAE training, counted from the products that a step makes.

One multiply-add is two operations. Left out: TopK, and AuxK, which only works while latents are
dead.
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


def optimiser_flops(d_model: int, d_sae: int) -> int:
    """Per step, however many activations it has.

    13 for each of the 2·d_model·d_sae + d_sae + d_model parameters by Adam (3 for its first moment,
    4 for the second, 3 for the root's bias and ε, 3 for the step), 3 by the clipping of gradients
    (2 for the norm, 1 to scale), and 7 for each decoder weight: 4 to take out of its gradient what
    lies along its row, 3 to bring the row back to unit norm. Rows that a compiled step leaves alone
    for want of a gradient are counted, as they are elsewhere.
    """
    n_parameters = 2 * d_model * d_sae + d_sae + d_model
    return 16 * n_parameters + 7 * d_model * d_sae


def matched_width(d_sae: int, k: int, share: float) -> int:
    """The d_sae whose training takes `share` of the operations of the given one, at the same k.

    sparse_flops is 2·d_model·(d_sae + 4k): what k latents cost does not shrink with the width.
    The optimiser's share, which nearly does, is left out.
    """
    return max(1, round(share * d_sae - 4 * k * (1 - share)))
