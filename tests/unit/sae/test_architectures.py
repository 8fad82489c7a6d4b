"""What every architecture can do: be shared, specialised, folded, resumed, stored and moved."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from dense_latents import dense
from every_architecture import moved_sae, settings_of
from killed import killed_after
from pretended_gpu import DEVICE, PretendedGPU
from synthetic_shards import all_layers, of_layers
from test_fitting import CHILD, CPU, ROOT
from test_training import D_MODEL, batches, dictionary, settings

from clustersae.experiment import architectures
from clustersae.latents.code import encode_tokens
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import checksum
from clustersae.sae.architectures.jumprelu import JumpReLU
from clustersae.sae.eager import EagerStep
from clustersae.sae.fitting import fit
from clustersae.sae.loss import fvu_loss
from clustersae.sae.module import Latents, joined, positive
from clustersae.sae.registry import ARCHITECTURES, create
from clustersae.sae.start import Start
from clustersae.sae.storage import load_sae, save_sae
from clustersae.sae.training import Trainer, train
from clustersae.transfer.measure import moved

SCHEMA = Path(__file__).parents[3] / "workflow/schemas/config.schema.yaml"
every = pytest.mark.parametrize("name", ARCHITECTURES)


def activations(sae, layer, n=40):
    noise = torch.randn(n, sae.d_model, generator=torch.Generator().manual_seed(layer))
    return sae.denormalise(noise, layer)


def test_the_registry_the_schema_and_the_facts_name_the_same():
    schema = yaml.safe_load(SCHEMA.read_text())
    enum = schema["$defs"]["sae"]["properties"]["architecture"]["enum"]
    assert enum == list(ARCHITECTURES) == list(architectures.ARCHITECTURES)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(InputError, match=r"no architecture 'vanilla': use topk, batchtopk"):
        create(
            asdict(replace(ROOT, architecture="vanilla")), (0,), torch.zeros(1, 6), torch.ones(1)
        )


def of_plain(name, plain, x, k):
    """Dense latents of raw activations by the folded weights, as each paper has it."""
    product = (x - plain["b_dec"]) @ plain["W_enc"]
    pre = product + plain["b_enc"]
    if name == "topk":
        values, indices = pre.topk(k, dim=1)
        return torch.zeros_like(pre).scatter(1, indices, F.relu(values))
    if name == "gated":
        return (pre > 0) * F.relu(product * plain["r_mag"].exp() + plain["b_mag"])
    return F.relu(pre) * (pre > plain.get("threshold", 0.0))


@pytest.mark.parametrize("standardised", [False, True])
@every
def test_folded_equals_unfolded_on_every_layer(name, standardised):
    sae = moved_sae(name)
    if standardised:
        spread = torch.rand(sae.layer_mean.shape, generator=torch.Generator().manual_seed(8)) + 0.5
        sae.layer_scale = sae.layer_scale[:, None] * spread
    for layer in sae.layers:
        x = activations(sae, layer)
        plain = sae.fold(layer)
        latents = of_plain(name, plain, x, sae.k)
        ours = dense(sae.encode(x, layer), sae.d_sae)
        assert (ours > 0).any()
        scaled = ours * sae.latent_scale(layer)
        torch.testing.assert_close(latents / scaled.max(), scaled / scaled.max(), rtol=0, atol=1e-5)
        expected = sae.reconstruct(x, layer)
        size = expected.abs().max()
        found = latents @ plain["W_dec"] + plain["b_dec"]
        torch.testing.assert_close(found / size, expected / size, rtol=0, atol=1e-5)


@every
def test_rows_of_a_folded_sae_have_unit_norm(name):
    sae = moved_sae(name)
    unit = torch.ones(20)
    assert torch.allclose(sae.W_dec.norm(dim=1), unit) == (name != "relu")
    torch.testing.assert_close(sae.fold(5)["W_dec"].norm(dim=1), unit)


@every
def test_the_first_loss_is_that_of_its_parts_and_reaches_every_parameter(name):
    sae = moved_sae(name, layers=(0,), scale=(1.0,))
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(2))
    output = sae.forward_training(x)
    fvu = fvu_loss(x, output.reconstruction)
    sae.loss(fvu, partial(fvu_loss, x), output, 0.5).backward()
    assert all(each.grad is not None and each.grad.any() for each in sae.parameters())
    # What it says of firing is what its values say.
    counts = output.firings(sae.d_sae)
    assert counts.sum() == (output.values > 0).sum()
    if output.indices is None:
        torch.testing.assert_close(output.values @ sae.W_dec + sae.b_dec, output.reconstruction)


@every
def test_training_recovers_a_known_dictionary(name):
    these = settings_of(
        name, settings(n_steps=800, warmup_steps=20, decay_steps=160, learning_rate=0.01)
    )
    if name == "matryoshka":  # its inner dictionary writes all features with fewer latents
        # Latents beyond it have little left to write, and at the others' rate more of them die.
        these = replace(these, prefixes=(3 * these.d_sae // 4,), learning_rate=0.005)
    sae = create(asdict(these), (0,), torch.zeros(1, D_MODEL), torch.ones(1))
    sae.initialise(torch.Generator().manual_seed(0))
    history = train(Trainer(sae, these, EagerStep), batches(range(800)))
    rows = F.normalize(sae.W_dec.detach(), dim=1)
    assert torch.allclose(rows, sae.W_dec) == sae.unit_rows
    best = (dictionary() @ rows.t()).max(1).values
    x = next(batches([10_000]))
    found = evaluate_layer(sae, 0, [x]).compute()
    assert best.mean() > 0.9
    # What it does on its own is what it did in training.
    assert found["fvu"] == pytest.approx(history[-1]["fvu"], rel=0.15)
    assert found["l0"] == pytest.approx(history[-1]["l0"], rel=0.1)


def test_the_weight_of_sparsity_rises_with_the_warm_up_and_goes_on_where_it_is_resumed(monkeypatch):
    these = settings_of("jumprelu", settings(warmup_steps=4))
    found, loss = [], JumpReLU.loss

    def told(sae, fvu, fvu_of, output, sparsity):
        found.append(sparsity)
        return loss(sae, fvu, fvu_of, output, sparsity)

    monkeypatch.setattr(JumpReLU, "loss", told)
    state = None
    for _ in range(2):
        sae = create(asdict(these), (0,), torch.zeros(1, D_MODEL), torch.ones(1))
        sae.initialise(torch.Generator().manual_seed(0))
        trainer = Trainer(sae, these)
        if state:
            trainer.load_state(state)
        for batch in batches(range(3)):
            trainer.step(batch)
        state = trainer.state()
    assert found == [0.25, 0.5, 0.75, 1, 1, 1]


@every
def test_auxk_is_for_those_that_it_can_revive(name):
    these = settings_of(name, settings(auxk_alpha=1.0, d_sae=24, k=4))  # k divides d_sae
    moved = {}
    for dead in (torch.tensor([3]), torch.zeros(0, dtype=torch.int64)):
        sae = create(asdict(these), (0,), torch.zeros(1, D_MODEL), torch.ones(1))
        sae.initialise(torch.Generator().manual_seed(0))
        silent_for = torch.zeros(these.d_sae, dtype=torch.int64)
        EagerStep(sae, these)(next(batches([0])), dead, silent_for, 0.01)
        moved[len(dead)] = sae.W_enc.detach()[:, 3]
    assert torch.equal(moved[0], moved[1]) == (name in ("relu", "gated"))


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    return all_layers(tmp_path_factory.mktemp("activations"))


@pytest.fixture
def fitted(cached, tmp_path):
    def fitted(layers, given, start=None, file="checkpoint"):
        data = of_layers(cached, layers)
        return fit(data, given, tmp_path / file, "SAE", CPU, start=start, keep=True)

    return fitted


def states_equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@every
def test_it_is_shared_specialised_and_resumed_to_the_same_bits(name, fitted, monkeypatch):
    root = fitted((0, 1, 2), settings_of(name, ROOT), file="root")
    assert root.history[-1]["fvu"] < root.history[0]["fvu"]
    start = Start(root.sae, checksum(root.sae.state_dict()))
    child = settings_of(name, CHILD)
    whole = fitted((2,), child, start, "whole")
    untrained = fitted((2,), replace(child, learning_rate=0.0, n_steps=1), start, "untrained").sae
    for each, value in untrained.state_dict().items():
        expected = root.sae.state_dict()[each]
        if each in ("layer_mean", "layer_scale"):
            torch.testing.assert_close(value, expected[2:])
        elif each == "threshold" and not isinstance(untrained.threshold, torch.nn.Parameter):
            assert expected > 0
            torch.testing.assert_close(value, expected, rtol=0.02, atol=0)  # an estimate goes on
        else:
            # Rows are brought to unit norm after every step, which may round them once more.
            atol = 1e-6 if each == "W_dec" else 0
            torch.testing.assert_close(value, expected, rtol=0, atol=atol)

    killed_after(3, monkeypatch, lambda: fitted((2,), child, start, "interrupted"))
    resumed = fitted((2,), child, start, "interrupted")
    assert resumed.record["resumed_at_step"] == 3
    assert states_equal(resumed.sae, whole.sae)
    assert [row["fvu"] for row in resumed.history] == [row["fvu"] for row in whole.history]


@every
def test_it_comes_back_from_disk(name, tmp_path):
    sae = moved_sae(name)
    save_sae(tmp_path, sae, settings_of(name), "base", "model")
    found = load_sae(tmp_path)
    assert type(found) is type(sae)
    assert states_equal(found, sae)
    assert getattr(found, "prefixes", ()) == getattr(sae, "prefixes", ())
    x = activations(sae, 5)
    assert torch.equal(found.reconstruct(x, 5), sae.reconstruct(x, 5))


@every
def test_it_is_read_on_another_layer_with_that_layers_normalisation(name):
    sae, to = moved_sae(name, (1,), (0.5,)), moved_sae(name, (4,), (2.0,))
    x = activations(to, 4)
    other = moved(sae, to)
    expected = to.denormalise(
        sae.decode(sae.activate(to.normalise(x))) / 0.5 - sae.layer_mean / 0.5
    )
    torch.testing.assert_close(other.reconstruct(x, 4), expected, rtol=1e-4, atol=1e-4)
    assert other.W_dec.data_ptr() == sae.W_dec.data_ptr()
    assert sae.layers == (1,)


def test_another_architecture_is_no_start():
    with pytest.raises(InputError, match="architecture TopK cannot start from one of ReLU"):
        moved_sae("topk").take_over(moved_sae("relu"))


def test_positive_entries_take_as_many_columns_as_the_busiest_token():
    rows = torch.tensor([[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    found = positive(rows)
    assert found.values.shape == (3, 2)
    assert torch.equal(dense(found, 4), rows)
    assert positive(torch.zeros(2, 4)).values.tolist() == [[0], [0]]
    assert positive(torch.zeros(0, 4)).values.shape == (0, 1)


def test_latents_of_different_width_are_joined():
    one = positive(torch.tensor([[1.0, 2.0, 0.0]]))
    other = positive(torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]))
    both = joined([one, other])
    assert isinstance(both, Latents)
    assert dense(both, 3).tolist() == [[1, 2, 0], [0, 0, 4], [0, 0, 0]]


@every
def test_rows_of_text_and_blocks_of_tokens_are_encoded_alike(name):
    """Splices hand over [n_rows, n_ctx, d_model], evaluations one block after the other."""
    sae = moved_sae(name).requires_grad_(False)
    x = activations(sae, 2, n=24)
    expected = dense(sae.encode(x, 2), sae.d_sae)
    rows = x.view(4, 6, -1)
    torch.testing.assert_close(dense(sae.encode(rows, 2), sae.d_sae).flatten(0, 1), expected)
    torch.testing.assert_close(sae.reconstruct(rows, 2).flatten(0, 1), sae.reconstruct(x, 2))
    code = encode_tokens(sae, 2, x.split([1, 20, 3]))
    torch.testing.assert_close(torch.tensor(code.activations.toarray()).float(), expected)


@every
def test_a_gpu_learns_what_the_cpu_learns_and_is_not_waited_for(name):
    """But for the look at dead latents, in the first step."""
    these = settings_of(name, settings(n_steps=4, warmup_steps=2))
    trainers, waits = [], []
    with PretendedGPU() as gpu:
        for device in ("cpu", DEVICE):
            sae = create(asdict(these), (0,), torch.zeros(1, D_MODEL), torch.ones(1))
            sae.initialise(torch.Generator().manual_seed(0))
            trainers.append(Trainer(sae.to(device), these, EagerStep))
            for batch in batches(range(4)):
                there = batch.to(device)
                gpu.waits.clear()
                trainers[-1].step(there)
                waits += [(device, trainers[-1].step_number, each) for each in gpu.waits]
        expected, found = (trainer.sae.state_dict() for trainer in trainers)
        for each in expected:
            torch.testing.assert_close(found[each].cpu(), expected[each], msg=each)
    assert waits == [(DEVICE, 1, "aten.nonzero.default")]
