"""The sparse products against their dense equivalents."""

import pytest
import torch
import torch.nn.functional as F

from clustersae.sae import sparse


def dense_loss(x, W_enc, b_enc, W_dec, b_dec, k, target):
    pre = (x - b_dec) @ W_enc + b_enc
    values, indices = torch.topk(pre, k, dim=1)
    latents = torch.zeros_like(pre).scatter(1, indices, torch.relu(values))
    return (latents @ W_dec + b_dec - target).square().sum()


def sparse_loss(x, W_enc, b_enc, W_dec, b_dec, k, target):
    values, indices, transposition = sparse.encode_topk(x, b_dec, W_enc, b_enc, k)
    return (sparse.decode(values, indices, W_dec, transposition) + b_dec - target).square().sum()


@pytest.mark.parametrize(
    ("n", "d_model", "d_sae", "k"), [(7, 5, 11, 3), (64, 16, 48, 48), (3, 4, 9, 1)]
)
def test_loss_and_all_gradients_equal_the_dense_ones(n, d_model, d_sae, k):
    generator = torch.Generator().manual_seed(n)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, target = normal(n, d_model), normal(n, d_model)
    weights = [
        normal(d_sae, d_model).t(),
        normal(d_sae) / 10,
        F.normalize(normal(d_sae, d_model), dim=1),
        normal(d_model) / 10,
    ]
    for weight in weights:
        weight.requires_grad_()
    expected = dense_loss(x, *weights, k, target)
    found = sparse_loss(x, *weights, k, target)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights)
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    weights = [
        torch.randn(8, 4, generator=generator, dtype=torch.float64).t().requires_grad_(),
        torch.randn(8, generator=generator, dtype=torch.float64).requires_grad_(),
        torch.randn(8, 4, generator=generator, dtype=torch.float64).requires_grad_(),
        torch.randn(4, generator=generator, dtype=torch.float64).requires_grad_(),
    ]
    assert torch.autograd.gradcheck(lambda *w: sparse_loss(x, *w, 2, x), weights)


def test_transposed_product_of_a_hand_worked_case():
    # Token 0 uses latents 2 and 0, token 1 uses latents 2 and 1; latent 3 is never used.
    indices = torch.tensor([[2, 0], [2, 1]])
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    dense = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    product = sparse.transpose(indices, 4).product(values, dense)
    expected = [[2.0, 20.0], [400.0, 4000.0], [301.0, 3010.0], [0.0, 0.0]]
    assert product.tolist() == expected
