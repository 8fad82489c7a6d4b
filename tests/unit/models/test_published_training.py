"""The settings of the published run: the network, the optimiser and the text, each by hand."""

import json
import math
from itertools import islice

import numpy as np
import pytest
import torch
import transformers
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from clustersae.checkpoint import Checkpoint
from clustersae.errors import InputError
from clustersae.models import training as module
from clustersae.models.architecture import Architecture, build_model
from clustersae.models.batches import Rows, Stream
from clustersae.models.loss import full_row_losses, mean_loss
from clustersae.models.network import last_hidden_state
from clustersae.models.residual import load_pretrained
from clustersae.models.settings import TrainingSettings
from clustersae.models.training import Trainer, train

N_CTX, VOCAB_SIZE = 8, 11
SHAPE = Architecture(3, 32, 4, N_CTX, bias=False, initializer_range=0.02)
SETTINGS = {
    **{"steps": 12, "batch_rows": 4, "learning_rate": 0.01, "warmup_steps": 3},
    **{"min_learning_rate_fraction": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.99)},
    **{"grad_clip": 0.5, "evaluate_every": 5, "seed": 1337, "log_every": 2},
    **{"sampling": "offsets", "evaluate_batches": 6},
}
CPU = torch.device("cpu")


def settings(**changes):
    return TrainingSettings(**{**SETTINGS, **changes})


def network(dropout=0.0, shape=SHAPE):
    return build_model(shape, VOCAB_SIZE, None, None, seed=1337, dropout=dropout)


def text(n_rows=30, seed=0, dtype=torch.int32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB_SIZE, (n_rows, N_CTX), generator=generator, dtype=dtype)


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


class Killed(Exception):
    pass


def interrupted(path, stop, given, dropout):
    """Train until step `stop` is done, saving after every step, and die."""

    class Dying(Checkpoint):
        def __call__(self, trainer, history):
            self.save(trainer, history)
            if trainer.step_number == stop:
                raise Killed

    with pytest.raises(Killed):
        train(network(dropout), text(), text(9, 1), given, None, checkpoint=Dying(path, "same"))


@pytest.mark.parametrize("sampling", ["rows", "offsets"])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_killed_training_ends_with_the_bits_of_an_undisturbed_one(tmp_path, sampling, stop):
    given, path = settings(sampling=sampling), tmp_path / "checkpoint.safetensors"
    whole = network(0.2)
    undisturbed = train(whole, text(), text(9, 1), given, None)
    interrupted(path, stop, given, dropout=0.2)
    torch.rand(3)
    resumed = network(0.2)
    learning = train(resumed, text(), text(9, 1), given, None, checkpoint=Checkpoint(path, "same"))
    assert learning == undisturbed._replace(resumed_at=stop)
    others = dict(resumed.named_parameters())
    assert all(torch.equal(weight, others[name]) for name, weight in whole.named_parameters())


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    interrupted(path, 5, settings(), dropout=0.0)
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


def test_the_network_compiles_in_one_piece():
    """Without a break in its graph. The compiler itself is of use on a GPU only, and not run."""
    model, tokens = network(), text(4)
    compiled = torch.compile(full_row_losses, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(model, tokens), full_row_losses(model, tokens), atol=1e-6)


def test_a_training_compiles_one_graph_to_train_and_one_to_evaluate(monkeypatch):
    counter = CompileCounter()
    compiled = torch.compile(full_row_losses, backend=counter, fullgraph=True)
    expected = train(network(0.2), text(), text(9, 1), settings(dtype="bfloat16"), None)
    monkeypatch.setattr(module, "_losses", lambda *_: compiled)
    torch.compiler.reset()
    learning = train(network(0.2), text(), text(9, 1), settings(dtype="bfloat16"), None)
    assert len(learning.curve) == 3
    assert counter.frame_count == 2
    assert learning.best.validation_loss == pytest.approx(expected.best.validation_loss, rel=1e-3)


def test_compiling_without_its_tools_is_refused_before_the_first_step(monkeypatch, tmp_path):
    compiler = tmp_path / "gcc"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(module.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    asked = settings(compile=True), None, torch.device("cuda")
    with pytest.raises(InputError, match=r"needs Python's headers, and .*Python\.h is not there"):
        module._losses(*asked)
    (tmp_path / "Python.h").touch()
    assert callable(module._losses(*asked))
    compiler.unlink()
    with pytest.raises(InputError, match="needs a C compiler"):
        module._losses(*asked)


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_compiled_training_on_a_gpu_learns_what_the_cpu_learns():
    expected = train(network(), text(), text(9, 1), settings(), None)
    compiled = train(network().to("cuda"), text(), text(9, 1), settings(compile=True), None)
    for one, other in zip(compiled.curve, expected.curve):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-3)
    assert compiled.logged[0][1] == pytest.approx(expected.logged[0][1], rel=1e-4)
