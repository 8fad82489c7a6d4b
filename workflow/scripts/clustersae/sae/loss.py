"""The training loss: fraction of variance unexplained, and AuxK for dead latents.

AuxK (Gao et al. 2024, appendix A.2): latents that have not fired for long reconstruct what the
live ones leave over. Its gradient must reach encoder and decoder of the dead latents, with the
residual's own sign, and nothing else; the tests check each of these.
"""

import torch

from clustersae.sae.module import SparseAutoencoder, TrainingOutput


def fvu_loss(normalised: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
    """‖x̄ - x̂‖² over the total variance of normalised activations, which is d_model per token.

    Normalisation makes the variance of every layer d_model by definition of σ_l, so each layer
    of a cluster weighs the same, and the denominator carries no noise from the batch.
    """
    return (normalised - reconstruction).square().sum() / normalised.numel()


def auxk_loss(
    sae: SparseAutoencoder, normalised: torch.Tensor, output: TrainingOutput, dead: torch.Tensor
) -> torch.Tensor:
    """‖e - ê‖² in units of the total variance; e = x̄ - x̂ is detached, ê uses no b_dec.

    ê takes the min(n_dead, d_model / 2) largest pre-activations among the dead latents, negative
    ones as they are (as SAELens does, unlike dictionary_learning). Through a ReLU a latent that is
    silent on nearly every token would learn on nearly none, and stay dead.

    Args:
        dead: int64 [n_dead], at least one.
    """
    residual = (normalised - output.reconstruction).detach()
    centred = normalised - sae.b_dec.detach()
    return auxk_of_rows(centred, residual, sae.W_enc[:, dead], sae.b_enc[dead], sae.W_dec[dead])


def auxk_of_rows(
    centred: torch.Tensor,
    residual: torch.Tensor,
    W_enc: torch.Tensor,
    b_enc: torch.Tensor,
    W_dec: torch.Tensor,
) -> torch.Tensor:
    """`auxk_loss` from the dead latents' own weights.

    Args:
        centred: x̄ - b_dec [n, d_model]; residual: x̄ - x̂ [n, d_model].
        W_enc: [d_model, n_dead]; b_enc: [n_dead]; W_dec: [n_dead, d_model].
    """
    pre = centred @ W_enc + b_enc
    k_aux = min(len(W_dec), max(1, W_dec.shape[1] // 2))
    values, chosen = torch.topk(pre, k_aux, dim=1, sorted=False)
    latents = torch.zeros_like(pre).scatter(1, chosen, values)
    return fvu_loss(residual, latents @ W_dec)


def auxk_gradients(
    sae: SparseAutoencoder,
    centred: torch.Tensor,
    residual: torch.Tensor,
    dead: torch.Tensor,
    alpha: float,
) -> tuple[torch.Tensor, ...]:
    """Those of alpha · `auxk_of_rows`: of W_encᵀ [n_dead, d_model], b_enc [n_dead] and W_dec.

    The bias of a dead latent that is among the k_aux of no token has gradient 0.
    """
    rows = [each[dead].requires_grad_() for each in (sae.W_enc.t(), sae.b_enc, sae.W_dec)]
    with torch.enable_grad():
        loss = auxk_of_rows(centred, residual, rows[0].t(), rows[1], rows[2])
        return torch.autograd.grad(alpha * loss, rows)
