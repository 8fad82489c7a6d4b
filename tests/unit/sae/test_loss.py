"""The loss, and above all the gradient of AuxK: the loss most often broken elsewhere."""

import pytest
import torch

from clustersae.sae.architectures.topk import TopK
from clustersae.sae.loss import auxk_loss, fvu_loss

DEAD = torch.tensor([1, 4, 6])


@pytest.fixture
def case():
    """An SAE, a batch, its output, and three latents that do not fire."""
    generator = torch.Generator().manual_seed(0)
    sae = TopK((0,), 8, 2, torch.zeros(1, 4), torch.ones(1)).double()
    sae.initialise(generator)
    with torch.no_grad():
        sae.b_dec.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5]))
        sae.b_enc.copy_(torch.linspace(-0.1, 0.1, 8))
    x = torch.randn(32, 4, generator=generator, dtype=torch.float64)
    return sae, x, sae.forward_training(x)


def test_fvu_of_the_mean_is_one_and_of_the_input_zero():
    x = torch.randn(50_000, 16, generator=torch.Generator().manual_seed(0))
    assert fvu_loss(x, torch.zeros_like(x)).item() == pytest.approx(1, abs=0.01)
    assert fvu_loss(x, x).item() == 0


def test_auxk_is_the_formula(case):
    sae, x, output = case
    residual = x - output.reconstruction
    pre = (x - sae.b_dec) @ sae.W_enc[:, DEAD] + sae.b_enc[DEAD]
    values, chosen = pre.topk(2, dim=1)  # min(3 dead, d_model / 2)
    expected = 0.0
    for row in range(len(x)):
        rebuilt = sum(values[row, j].item() * sae.W_dec[DEAD[chosen[row, j]]] for j in range(2))
        expected += (residual[row] - rebuilt).square().sum().item()
    assert auxk_loss(sae, x, output, DEAD).item() == pytest.approx(expected / x.numel())


def test_auxk_reaches_encoder_and_decoder_of_dead_latents_and_nothing_else(case):
    sae, x, output = case
    auxk_loss(sae, x, output, DEAD).backward()
    alive = torch.tensor([0, 2, 3, 5, 7])
    assert (sae.W_dec.grad[DEAD].norm(dim=1) > 0).all()
    assert (sae.W_enc.grad[:, DEAD].norm(dim=0) > 0).all()
    assert (sae.b_enc.grad[DEAD] != 0).any()
    assert not sae.W_dec.grad[alive].any()
    assert not sae.W_enc.grad[:, alive].any()
    assert not sae.b_enc.grad[alive].any()
    assert sae.b_dec.grad is None


def test_auxk_reaches_latents_that_are_silent_on_every_token(case):
    sae, x, output = case
    with torch.no_grad():
        sae.b_enc[DEAD] = -100.0
    auxk_loss(sae, x, output, DEAD).backward()
    assert (sae.W_enc.grad[:, DEAD].norm(dim=0) > 0).all()
    # Down the gradient: towards less of a latent that writes what is not there.
    assert (sae.b_enc.grad[DEAD] < 0).all()


def test_auxk_gradients_are_those_of_finite_differences(case):
    sae, x, output = case
    auxk_loss(sae, x, output, DEAD).backward()
    for parameter, place in ((sae.W_dec, (4, 2)), (sae.W_enc, (1, 4)), (sae.b_enc, (6,))):
        found = parameter.grad[place].item()
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * 1e-6
                losses.append(auxk_loss(sae, x, output, DEAD).item())
                parameter[place] -= sign * 1e-6
        assert found == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5)


def test_auxk_teaches_the_residual_not_its_negative(case):
    """A dead latent's decoder row must move towards the residual of the tokens that excite it."""
    sae, x, output = case
    auxk_loss(sae, x, output, DEAD).backward()
    residual = (x - output.reconstruction).detach()
    pre = (x - sae.b_dec) @ sae.W_enc[:, DEAD] + sae.b_enc[DEAD]
    values, chosen = pre.topk(2, dim=1)
    latents = torch.zeros_like(pre).scatter(1, chosen, values).detach()
    unexplained = residual - latents @ sae.W_dec[DEAD].detach()
    for index, latent in enumerate(DEAD):
        towards = (latents[:, index, None] * unexplained).sum(0)
        step = -sae.W_dec.grad[latent]
        assert torch.cosine_similarity(step, towards, dim=0) > 0.999
