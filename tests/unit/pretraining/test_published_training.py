"""The settings of the published run: the network, the optimiser and the text, each by hand."""

import json
import math
from itertools import islice

import numpy as np
import pytest
import torch
import transformers
from tiny_training import CPU, N_CTX, interrupted, network, settings, text
from torch.nn import functional as F

from clustersae.models.loading import load_pretrained
from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.batches import Rows, Stream
from clustersae.pretraining.loss import mean_loss
from clustersae.pretraining.network import last_hidden_state
from clustersae.pretraining.training import Trainer, train
from clustersae.runtime.checkpoint import Checkpoint
from clustersae.runtime.errors import InputError


def reference_logits(weights, tokens, n_layers=3, n_heads=4):
    """A GPT-2 without biases, with exact GELU and tied embeddings, in plain tensors.

    Args:
        weights: as transformers names them; matrices are [d_in, d_out].
        tokens: int64 [batch, n].
    """
    n = tokens.shape[1]
    w = {name.removeprefix("transformer."): each for name, each in weights.items()}

    def norm(x, scale):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale

    x = w["wte.weight"][tokens] + w["wpe.weight"][:n]
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    for layer in range(n_layers):
        at = f"h.{layer}."
        qkv = norm(x, w[at + "ln_1.weight"]) @ w[at + "attn.c_attn.weight"]
        q, k, v = (
            each.unflatten(-1, (n_heads, -1)).transpose(1, 2) for each in qkv.chunk(3, dim=-1)
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        weighted = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        x = x + weighted.transpose(1, 2).flatten(2) @ w[at + "attn.c_proj.weight"]
        hidden = norm(x, w[at + "ln_2.weight"]) @ w[at + "mlp.c_fc.weight"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + hidden @ w[at + "mlp.c_proj.weight"]
    return norm(x, w["ln_f.weight"]) @ w["wte.weight"].T


def test_the_network_is_the_published_one():
    model = network().eval()
    with torch.no_grad():
        for weight in model.parameters():  # away from the start, where much is still one or small
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn(weight.shape))
        tokens = text().long()
        expected = reference_logits(dict(model.named_parameters()), tokens)
        assert torch.allclose(model(tokens).logits, expected, atol=1e-5)
    assert model.lm_head.weight is model.transformer.wte.weight


def test_weights_begin_as_published():
    model = build_model(
        Architecture(6, 384, 6, 64, bias=False, initializer_range=0.02), 65, None, None, seed=0
    )
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert not weight.requires_grad
            assert not weight.any()
        elif weight.dim() == 1:
            assert (weight == 1).all()
        else:
            expected = 0.02 / math.sqrt(2 * 6) if "c_proj" in name else 0.02
            assert weight.std().item() == pytest.approx(expected, rel=0.02), name
            assert abs(weight.mean().item()) < 1e-3
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    positions = model.transformer.wpe.weight.numel()
    assert trained - positions == 10_646_784  # the "about 10.7 M" of the published run


def test_training_is_adamw_with_a_cosine_by_hand():
    """Twelve steps on sequences at the published kind of offsets, against the formulas."""
    given, rows = settings(), text()
    model = network()
    weights = {
        name: weight.detach().clone().requires_grad_(weight.requires_grad)
        for name, weight in model.named_parameters()
    }
    stream = rows.flatten().long()
    offsets = np.random.default_rng((1337, 0, 0)).integers(0, len(stream) - N_CTX, (256, 4))
    first, second, losses = {}, {}, []
    for step in range(12):
        batch = torch.stack([stream[start : start + N_CTX + 1] for start in offsets[step]])
        logits = reference_logits(weights, batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        losses.append(loss.item())
        trained = {name: weight for name, weight in weights.items() if weight.requires_grad}
        gradients = dict(zip(trained, torch.autograd.grad(loss, list(trained.values()))))
        size = math.sqrt(sum(float(each.square().sum()) for each in gradients.values()))
        scale = min(1.0, 0.5 / size)
        rate = 0.01 * (step + 1) / 3
        if step >= 3:
            rate = 0.001 + 0.009 * 0.5 * (1 + math.cos(math.pi * (step - 3) / 8))
        with torch.no_grad():
            for name, weight in trained.items():
                gradient = gradients[name] * scale
                m = first[name] = 0.9 * first.get(name, 0) + 0.1 * gradient
                v = second[name] = 0.99 * second.get(name, 0) + 0.01 * gradient**2
                m, v = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.99 ** (step + 1))
                if weight.dim() > 1:
                    weight.mul_(1 - rate * 0.1)
                weight.sub_(rate * m / (v.sqrt() + 1e-8))
    trainer = Trainer(model, Stream(rows, None, CPU), Stream(text(9, 1), None, CPU), given, None)
    batches = trainer.sources["train"].training(4, 1337, 0)
    for _ in range(12):
        trainer.step(next(batches))
    for name, weight in model.named_parameters():
        assert torch.allclose(weight, weights[name], atol=2e-5), name
    assert trainer.logged.tolist() == pytest.approx(losses[1::2], abs=1e-5)


def test_biases_stay_zero_and_everything_else_is_trained():
    model = network()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    train(model, text(), text(9, 1), settings(evaluate_every=12, weight_decay=0.5), None)
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) == name.endswith("bias"), name
        assert weight.any() != name.endswith("bias"), name


def test_evaluations_are_means_over_random_batches_of_each_split():
    model, rows, held_out = network(dropout=0.2), text(), text(9, 1)
    learning = train(model, rows, held_out, settings(), None)
    assert [point.step for point in learning.curve] == [5, 10, 12]
    assert [step for step, _ in learning.logged] == [2, 4, 6, 8, 10, 12]
    best = learning.best
    for split, (tokens, loss) in enumerate(
        [(held_out, best.validation_loss), (rows, best.train_split_loss)]
    ):
        stream = tokens.flatten().long()
        key = (1337, 1, split, best.step)
        offsets = np.random.default_rng(key).integers(0, len(stream) - N_CTX, (6, 4))
        batches = torch.stack([stream[start : start + N_CTX + 1] for start in offsets.ravel()])
        with torch.no_grad():
            logits = model(batches[:, :-1]).logits  # the model as it was at its best
        expected = F.cross_entropy(logits.flatten(0, 1), batches[:, 1:].flatten())
        assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_a_run_of_odd_length_logs_its_last_step():
    learning = train(network(), text(), text(9, 1), settings(steps=5, log_every=3), None)
    assert [step for step, _ in learning.logged] == [3, 5]


@pytest.mark.parametrize("sampling", ["rows", "offsets"])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_killed_training_ends_with_the_bits_of_an_undisturbed_one(tmp_path, sampling, stop):
    given, path = settings(sampling=sampling), tmp_path / "checkpoint.safetensors"
    whole = network(0.2)
    undisturbed = train(whole, text(), text(9, 1), given, None)
    interrupted(path, stop, given, network(0.2))
    torch.rand(3)
    resumed = network(0.2)
    learning = train(resumed, text(), text(9, 1), given, None, checkpoint=Checkpoint(path, "same"))
    assert learning == undisturbed._replace(resumed_at=stop)
    others = dict(resumed.named_parameters())
    assert all(torch.equal(weight, others[name]) for name, weight in whole.named_parameters())


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, 5, settings(), network())
    learning = train(
        network(), text(), text(9, 1), settings(), None, checkpoint=Checkpoint(path, "other")
    )
    assert learning.resumed_at == 0


def test_sequences_come_from_anywhere_in_the_stream():
    tokens = torch.arange(6 * N_CTX, dtype=torch.int32).reshape(6, N_CTX)
    batches = torch.cat(list(islice(Stream(tokens, None, CPU).training(16, 0, 0), 300)))
    starts = batches[:, 0]
    assert torch.equal(batches - starts[:, None], torch.arange(N_CTX + 1).expand(4800, -1))
    assert set(starts.tolist()) == set(range(6 * N_CTX - N_CTX))


def test_sequences_begin_with_bos_where_rows_do():
    tokens = torch.arange(1, 6 * N_CTX + 1, dtype=torch.int32).reshape(6, N_CTX)
    tokens[:, 0] = 0
    stream = tokens[:, 1:].flatten().tolist()
    for batch in islice(Stream(tokens, 0, CPU).training(16, 0, 0), 20):
        for row in batch.tolist():
            start = stream.index(row[1])
            assert row == [0, *stream[start : start + N_CTX]]


@pytest.mark.parametrize("kind", [lambda t: Rows(t, CPU), lambda t: Stream(t, None, CPU)])
def test_reading_on_from_a_step_is_as_if_one_had_read_from_the_start(kind):
    everything = list(islice(kind(text()).training(4, 7, 0), 600))
    for first in (0, 1, 255, 256, 300):
        later = next(kind(text()).training(4, 7, first))
        assert torch.equal(later, everything[first])
    again = list(kind(text()).sample(3, 4, (1, 2)))
    assert all(map(torch.equal, again, kind(text()).sample(3, 4, (1, 2))))
    assert not all(map(torch.equal, again, kind(text()).sample(3, 4, (1, 3))))


@pytest.mark.parametrize("sampling", ["rows", "offsets"])
def test_tokens_may_be_bytes(sampling):
    """As corpora of up to 256 characters are kept."""
    given = settings(sampling=sampling, steps=3)
    bytes_, ints = (
        train(network(), text(dtype=kind), text(9, 1, kind), given, None)
        for kind in (torch.uint8, torch.int32)
    )
    assert bytes_ == ints


def test_too_little_text_and_padded_rows_are_refused():
    with pytest.raises(InputError, match=r"needs 9 tokens in each split, and one has 8"):
        train(network(), text(), text(1), settings(), None)
    with pytest.raises(InputError, match=r"rows of this corpus are padded: write rows"):
        train(network(), text(), text(9, 1), settings(), pad_id=0)


def test_offsets_may_be_judged_on_all_rows():
    model = network()
    learning = train(model, text(), text(9, 1), settings(evaluate_batches=None), None)
    expected = mean_loss(model, text(9, 1), None, 4)
    assert learning.best.validation_loss == pytest.approx(expected, rel=1e-9)
    assert learning.best.train_split_loss is None


@pytest.mark.parametrize("kinds", [(), ("embd",), ("attn",), ("resid",), ("embd", "attn", "resid")])
def test_dropout_is_that_of_transformers(kinds):
    """Every kind by itself: the same elements are dropped, as the same numbers are drawn."""
    model, tokens = network(), text(6).long()
    for kind in kinds:
        setattr(model.config, f"{kind}_pdrop", 0.4)
    dropping = build_from(model.config, model.state_dict()).train()
    torch.manual_seed(3)
    ours = last_hidden_state(dropping.transformer, tokens)
    torch.manual_seed(3)
    theirs = dropping.transformer(tokens).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-6)
    plain = last_hidden_state(model.eval().transformer, tokens)
    assert torch.allclose(ours, plain, atol=1e-6) == (not kinds)


def build_from(config, weights):
    model = transformers.GPT2LMHeadModel(config)
    model.load_state_dict(weights)
    return model


def test_the_saved_directory_gives_the_logits_of_the_trained_network(tmp_path):
    model = network(dropout=0.2)
    train(model, text(), text(9, 1), settings(dtype="bfloat16"), None)
    model.save_pretrained(tmp_path)
    tokens = text(20, 2).long()
    with torch.no_grad():
        expected = model(tokens).logits
        assert torch.allclose(load_pretrained(tmp_path)(tokens).logits, expected, atol=1e-5)
        by_hand = reference_logits(dict(model.named_parameters()), tokens)
    assert torch.allclose(by_hand, expected, atol=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["activation_function"] == "gelu"
