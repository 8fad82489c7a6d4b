"""Training: it learns, it revives dead latents, and it says when it diverges."""

import copy

import pytest
import torch
import torch.nn.functional as F
from pretended_gpu import DEVICE, PretendedGPU
from sae_settings_of import topk_settings

from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.eager import Adam, EagerStep
from clustersae.sae.training import Trainer, choose_step, train

D_MODEL, D_SAE, K = 16, 32, 3


def settings(**change):
    base = {
        **{"d_sae": D_SAE, "k": K, "n_steps": 60, "batch_size": 256, "learning_rate": 3e-3},
        **{"warmup_steps": 5, "decay_steps": 12, "dead_after": 1_000},
    }
    return topk_settings(**(base | change))


def trainer_for(these, device="cpu", choose=choose_step):
    sae = TopK((0,), these.d_sae, these.k, torch.zeros(1, D_MODEL), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(these.seed))
    return Trainer(sae.to(device), these, choose)


def dictionary():
    return F.normalize(
        torch.randn(D_SAE, D_MODEL, generator=torch.Generator().manual_seed(9)), dim=1
    )


def batches(steps, batch_size=256):
    """Sparse combinations of a known dictionary, scaled to unit variance per dimension."""
    rows = dictionary()
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        chosen = torch.rand(batch_size, D_SAE, generator=generator).topk(K, dim=1).indices
        strength = 1 + torch.rand(batch_size, K, generator=generator)
        x = (rows[chosen] * strength.unsqueeze(2)).sum(1)
        yield x * (D_MODEL / x.square().sum(1).mean()).sqrt()


def weights(trainer):
    return {name: value.clone() for name, value in trainer.sae.state_dict().items()}


def adam_pair(generator, quiet=0.0):
    """Weights after 60 steps of ours, and of PyTorch's Adam that sees every row's own steps alone.

    Args:
        quiet: share of steps in which a row has no gradient.
    """
    shapes = {(6, 4): 0, (4, 6): 1, (6,): 0, (4,): None}
    start = [torch.randn(*shape, generator=generator) for shape in shapes]
    own = [torch.nn.Parameter(each.clone()) for each in start]
    rows = [
        [each] if dim is None else list(each.movedim(dim, 0).clone().unbind())
        for each, dim in zip(start, shapes.values())
    ]
    rows = [[torch.nn.Parameter(row.clone()) for row in each] for each in rows]
    expected = [[torch.optim.Adam([row], lr=0.01) for row in each] for each in rows]
    optimizer = Adam(zip(own, shapes.values()))
    for number in range(60):
        silent = torch.rand(6, generator=generator) < quiet
        for parameter, dim, parts, each in zip(own, shapes.values(), rows, expected):
            gradient = torch.randn(parameter.shape, generator=generator)
            if gradient.dim() == 2 and number % 2:  # a latent moves in all of its coordinates
                gradient.select(1 - dim, 0).zero_()
            if dim is None:
                parts[0].grad = gradient.clone()
                each[0].step()
            else:
                gradient.movedim(dim, 0)[silent] = 0
                for i, (row, step) in enumerate(zip(parts, each)):
                    if not silent[i]:
                        row.grad = gradient.movedim(dim, 0)[i].clone()
                        step.step()
            parameter.grad = gradient
        optimizer.step(0.01)
    joined = [
        each[0] if dim is None else torch.stack(list(each)).movedim(0, dim)
        for each, dim in zip(rows, shapes.values())
    ]
    return own, joined


@pytest.mark.parametrize("quiet", [0.0, 0.3, 0.95])
def test_a_latent_moves_as_if_adam_had_seen_its_own_steps_alone(quiet):
    """Without quiet steps: as PyTorch's Adam."""
    for one, other in zip(*adam_pair(torch.Generator().manual_seed(0), quiet)):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_what_has_no_gradient_keeps_its_bits():
    sae = trainer_for(settings()).sae
    with torch.no_grad():
        sae.b_enc[5] = -1e4
        # The renormalisation of decoder rows may move their last bits once.
        sae.W_dec[5] = torch.eye(D_MODEL)[5]
    for choose in (choose_step, EagerStep):
        trainer = Trainer(copy.deepcopy(sae), settings(auxk_alpha=0.0), choose)
        train(trainer, batches(range(60)))
        assert torch.equal(trainer.sae.W_dec[5], sae.W_dec[5])
        assert torch.equal(trainer.sae.W_enc[:, 5], sae.W_enc[:, 5])
        assert trainer.sae.b_enc[5] == -1e4
        assert not torch.equal(trainer.sae.W_dec[6], sae.W_dec[6])


def test_training_recovers_a_known_dictionary():
    trainer = trainer_for(settings(n_steps=800, warmup_steps=20, decay_steps=160))
    history = train(trainer, batches(range(800)))
    assert history[-1]["fvu"] < 0.15
    best = (dictionary() @ trainer.sae.W_dec.detach().t()).max(1).values
    assert best.mean() > 0.9


def test_decoder_rows_keep_unit_norm():
    trainer = trainer_for(settings())
    train(trainer, batches(range(60)))
    torch.testing.assert_close(trainer.sae.W_dec.norm(dim=1), torch.ones(D_SAE))


@pytest.mark.parametrize("choose", [choose_step, EagerStep], ids=["default", "eager"])
def test_auxk_revives_planted_dead_latents_and_lowers_the_fvu(choose):
    """Half of the latents start out of every token's reach; the data has use for all of them."""
    held_out = torch.cat(list(batches(range(1000, 1020))))
    found = {}
    for alpha in (0.0, 1 / 32):
        these = settings(
            n_steps=600, learning_rate=0.01, decay_steps=120, dead_after=2_000, auxk_alpha=alpha
        )
        trainer = trainer_for(these, choose=choose)
        with torch.no_grad():
            trainer.sae.W_enc[:, ::2] *= 0.1
            trainer.sae.b_enc[::2] = -1.0
            assert not (trainer.sae.pre_activations(held_out)[:, ::2] > 0).any()
        train(trainer, batches(range(600)))
        latents = trainer.sae.activate(held_out)
        fired = latents.indices[latents.values > 0].unique()
        error = trainer.sae.reconstruct(held_out, 0) - held_out
        found[alpha] = (
            1 - len(fired) / D_SAE,
            (error.square().sum() / held_out.square().sum()).item(),
        )
    (dead, fvu), (dead_with_auxk, fvu_with_auxk) = found[0.0], found[1 / 32]
    assert dead == 0.5
    assert dead_with_auxk < 0.2
    assert fvu_with_auxk < 0.6 * fvu


def test_l0_in_the_history_counts_active_latents_only():
    trainer = trainer_for(settings(learning_rate=0.0))
    with torch.no_grad():
        trainer.sae.b_enc.fill_(-100.0)
    history = train(trainer, batches(range(60)))
    assert history[-1]["l0"] == 0
    assert history[-1]["dead_fraction"] == 1


class Told:
    """A step that keeps what it is given and trains nothing; latent 5 stays silent."""

    name = "told"

    def __init__(self, sae, settings):
        self.sae, self.dead, self.rates, self.fvu = sae, [], [], None

    def __call__(self, batch, dead, silent_for, rate):
        self.dead.append(dead.tolist())
        self.rates.append(rate)
        silent_for[5] += len(batch)
        number = len(self.rates)
        return self.fvu or float(number), 2.0 * number

    def state(self):
        return {}


def test_the_history_has_means_since_its_last_row_and_auxk_the_dead_of_every_16th_step():
    trainer = trainer_for(settings(n_steps=301, dead_after=16 * 256 + 1), choose=Told)
    rows = train(trainer, (torch.zeros(256, D_MODEL) for _ in range(301)))
    assert [row["step"] for row in rows] == [*range(3, 301, 3), 301]
    assert [row["fvu"] for row in rows] == [*range(2, 300, 3), 301]
    assert [row["l0"] for row in rows] == [2 * row["fvu"] for row in rows]
    assert [row["activations"] for row in rows] == [256 * row["step"] for row in rows]
    told = trainer.optimise
    assert [row["learning_rate"] for row in rows] == [told.rates[row["step"] - 1] for row in rows]
    # Dead after 17 steps, which is seen after 32.
    assert told.dead == [[]] * 32 + [[5]] * 269
    assert [row["dead_fraction"] for row in rows] == [0.0] * 5 + [1 / D_SAE] * 96


@pytest.mark.parametrize("what", ["batch", "loss", "weight"])
def test_divergence_stops_with_a_remedy_and_leaves_no_state(what):
    # Rows of the history, which look as well, come every third step.
    these = settings(n_steps=300)
    trainer = trainer_for(these, choose=choose_step if what == "batch" else Told)
    if what == "loss":
        trainer.optimise.fvu = float("nan")
    if what == "weight":
        trainer.sae.W_dec.data[3, 4] = torch.inf
    bad = float("nan") if what == "batch" else 1.0
    given = (x * bad for x in batches(range(300)))
    with pytest.raises(InputError, match=r"diverged.*sae\.learning_rate"):
        train(trainer, given, after_step=lambda *_: trainer.state())
    assert trainer.step_number == 1


def test_a_gpu_learns_what_the_cpu_learns_and_is_waited_for_where_its_numbers_are_read():
    """At every look at dead latents and at every row of the history, and never between."""
    these = settings(n_steps=20, d_sae=512, dead_after=500)
    expected = trainer_for(these, choose=EagerStep)
    for batch in batches(range(20)):
        expected.step(batch)
    with PretendedGPU() as gpu:
        trainer = trainer_for(these, DEVICE)
        waits = []
        for batch in batches(range(20)):
            there = batch.to(DEVICE)
            gpu.waits.clear()
            trainer.step(there)
            waits += [(trainer.step_number, name) for name in gpu.waits]
        row = trainer.metrics()
        for name, weight in weights(trainer).items():
            torch.testing.assert_close(weight.cpu(), weights(expected)[name], msg=name)
    assert waits == [(1, "aten.nonzero.default"), (17, "aten.nonzero.default")]
    assert len(trainer.dead)
    assert row == pytest.approx(expected.metrics())
