"""Floating-point operations of SAE training and of a model's forward pass, counted from products.

One multiply-add is two operations. Left out: the choice of active latents, and AuxK, which only
works while latents are dead; of a language model its norms, nonlinearities and the unembedding.
"""

from clustersae.experiment.architectures import ARCHITECTURES


def training_flops(architecture: str, d_model: int, d_sae: int, k: int, n_prefixes: int = 0) -> int:
    """Per activation, as trained here.

    Of TopK: a dense encoder, everything else on k latents: 2·d_model·d_sae for the encoder, and
    2·k·d_model each for decoding and for the gradients of W_dec, of the latents and of W_enc.

    Args:
        n_prefixes: inner dictionaries of a Matryoshka SAE, each decoded and differentiated too.
    """
    dense, sparse = _weights(architecture, n_prefixes)
    return d_model * (dense * d_sae + sparse * k)


def _weights(architecture: str, n_prefixes: int) -> tuple[int, int]:
    facts = ARCHITECTURES[architecture]
    return facts.dense, facts.sparse + 6 * n_prefixes


def dense_flops(d_model: int, d_sae: int) -> int:
    """Per activation with dense products: 10·d_model·d_sae, the T of Group-SAE's cost model."""
    return 10 * d_model * d_sae


def forward_flops(n_weights: int, n_layers: int, n_ctx: int, d_model: int) -> int:
    """Per token that a language model reads: 2·N + 4·L·n_ctx·d_model, the A of Group-SAE's model.

    The second term are the products of queries with keys and of their weights with values, over all
    n_ctx positions of a row, as if heads together were as wide as the stream.

    Args:
        n_weights: of the blocks, N.
        n_layers: blocks, L.
    """
    return 2 * n_weights + 4 * n_layers * n_ctx * d_model


def optimiser_flops(d_model: int, d_sae: int) -> int:
    """Per step, however many activations it has.

    13 for each of the 2·d_model·d_sae + d_sae + d_model parameters by Adam (3 for its first moment,
    4 for the second, 3 for the root's bias and ε, 3 for the step), 3 by the clipping of gradients
    (2 for the norm, 1 to scale), and 7 for each decoder weight: 4 to take out of its gradient what
    lies along its row, 3 to bring the row back to unit norm. Rows that are left alone for want of a
    gradient are counted; the few parameters more that some architectures have are not.
    """
    n_parameters = 2 * d_model * d_sae + d_sae + d_model
    return 16 * n_parameters + 7 * d_model * d_sae


def matched_width(architecture: str, d_sae: int, k: int, share: float, n_prefixes: int = 0) -> int:
    """The d_sae whose training takes `share` of the operations of the given one, at the same k.

    For TopK these are 2·d_model·(d_sae + 4k): what k latents cost does not shrink with the width.
    The optimiser's share, which nearly does, is left out.
    """
    dense, sparse = _weights(architecture, n_prefixes)
    return max(1, round(share * d_sae - sparse / dense * k * (1 - share)))
