"""Sparse against dense products in one SAE training step: python tests/benchmarks/sae_step.py.

Prints processor time per step of both, measured in turns, and their ratio; asserts nothing.
"""

import statistics
import time

import torch

from clustersae.sae.architectures.topk import TopK
from clustersae.sae.loss import fvu_loss
from clustersae.sae.module import SparseAutoencoder

SIZES = [(96, 384, 12), (384, 3072, 32), (768, 6144, 64)]
BATCH, PAIRS = 2048, 7


def dense_loss(sae: SparseAutoencoder, x: torch.Tensor) -> torch.Tensor:
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    values, indices = torch.topk(pre, sae.k, dim=1)
    latents = torch.zeros_like(pre).scatter(1, indices, torch.relu(values))
    return fvu_loss(x, latents @ sae.W_dec + sae.b_dec)


def sparse_loss(sae: SparseAutoencoder, x: torch.Tensor) -> torch.Tensor:
    return fvu_loss(x, sae.forward_training(x).reconstruction)


def milliseconds(loss, sae: SparseAutoencoder, x: torch.Tensor) -> float:
    started = time.process_time()
    sae.zero_grad()
    loss(sae, x).backward()
    return 1000 * (time.process_time() - started)


def main() -> None:
    torch.set_num_threads(1)
    print(f"batch {BATCH}, one thread, torch {torch.__version__}, median of {PAIRS} pairs")
    for d_model, d_sae, k in SIZES:
        sae = TopK((0,), d_sae, k, torch.zeros(1, d_model), torch.ones(1))
        sae.initialise(torch.Generator().manual_seed(0))
        x = torch.randn(BATCH, d_model, generator=torch.Generator().manual_seed(1))
        pairs = [
            (milliseconds(dense_loss, sae, x), milliseconds(sparse_loss, sae, x))
            for _ in range(PAIRS + 1)
        ][1:]
        dense, sparse = (statistics.median(column) for column in zip(*pairs))
        ratio = statistics.median(one / other for one, other in pairs)
        print(
            f"d_model {d_model:4d}, d_sae {d_sae:5d}, k {k:3d}: dense {dense:7.1f} ms, sparse"
            f" {sparse:6.1f} ms, ratio {ratio:.1f}"
        )


if __name__ == "__main__":
    main()
