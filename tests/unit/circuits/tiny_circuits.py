"""Small models, dictionaries and prompts for tests of circuits."""

from types import SimpleNamespace

import torch
from torch import nn

from clustersae.circuits.pairs import Pairs
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.module import SparseAutoencoder

#: Of the SAEs of most tests.
D_SAE, K = 24, 5


class LinearBlock(nn.Module):
    """x_t + x_t A + (mean of x_s over s <= t) B: linear, and it moves information onwards."""

    def __init__(self, own: torch.Tensor, mixed: torch.Tensor) -> None:
        super().__init__()
        self.own = nn.Parameter(own, requires_grad=False)
        self.mixed = nn.Parameter(mixed, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = torch.arange(1, x.shape[1] + 1, device=x.device).view(1, -1, 1)
        return x + x @ self.own + (x.cumsum(1) / lengths) @ self.mixed


class LinearModel(nn.Module):
    """As a causal language model of transformers, as far as anything here looks at it."""

    def __init__(self, embedding, blocks, unembedding) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(embedding)
        self.blocks = nn.ModuleList(LinearBlock(*block) for block in blocks)
        self.head = nn.Linear(*unembedding.shape, bias=False)
        self.head.weight = nn.Parameter(unembedding.t().contiguous(), requires_grad=False)

    @property
    def dtype(self):
        return self.head.weight.dtype

    def get_input_embeddings(self):
        return self.embedding

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, use_cache=False):
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x)
        return SimpleNamespace(logits=self.head(x))


def random_linear_model(n_layers: int, d_model: int, vocab_size: int) -> LinearModel:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    blocks = [(normal(d_model, d_model) / 8, normal(d_model, d_model) / 8) for _ in range(n_layers)]
    return LinearModel(normal(vocab_size, d_model), blocks, normal(d_model, vocab_size))


def random_sae(layers, d_model, d_sae, k, seed=0, kind=TopK) -> SparseAutoencoder:
    """An SAE that nobody trained, with biases, and another normalisation on every layer."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(len(layers), d_model, generator=generator) / 4
    scale = 0.5 + torch.rand(len(layers), generator=generator)
    sae = kind(layers, d_sae, k, mean, scale)
    sae.initialise(generator)
    with torch.no_grad():
        sae.b_enc.copy_(torch.randn(d_sae, generator=generator) / 4)
        sae.b_dec.copy_(torch.randn(d_model, generator=generator) / 4)
    return sae.requires_grad_(False)


def signed_identity(layers, d_model, mean=None, scale=None) -> SparseAutoencoder:
    """An SAE that loses nothing: latent i is the positive part of coordinate i, d_model + i the
    negative part."""
    mean = torch.zeros(len(layers), d_model) if mean is None else mean
    scale = torch.ones(len(layers)) if scale is None else scale
    sae = TopK(layers, 2 * d_model, d_model, mean, scale)
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([torch.eye(d_model), -torch.eye(d_model)]))
        sae.W_enc.copy_(sae.W_dec.t())
    return sae.requires_grad_(False)


def random_pairs(n_pairs, n_tokens, vocab_size, seed=0, first=0) -> Pairs:
    """Pairs that differ at two positions; tokens before `first` are 0 in all."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(1, vocab_size, (n_pairs, n_tokens), generator=generator)
    clean[:, :first] = 0
    corrupted = clean.clone()
    for position in (first, n_tokens - 2):
        corrupted[:, position] = torch.randint(1, vocab_size, (n_pairs,), generator=generator)
    answer = torch.randint(1, vocab_size, (n_pairs,), generator=generator)
    wrong, alone = (answer + 1) % vocab_size, torch.arange(n_pairs)
    return Pairs(clean, corrupted, answer, wrong, alone, first)
