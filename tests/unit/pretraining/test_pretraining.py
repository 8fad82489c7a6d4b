import json
import math
from itertools import islice

import pytest
import torch
from build_corpus import main as build_corpus
from train_model import main as train_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from clustersae.corpora.build import CorpusFiles
from clustersae.corpora.tokens import read_tokens
from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.batches import batch_indices
from clustersae.pretraining.loss import mean_loss, next_token_losses
from clustersae.pretraining.settings import TrainingSettings, learning_rate
from clustersae.pretraining.training import train
from clustersae.runtime.errors import InputError

PAD, BOS, N_CTX, VOCAB_SIZE = 0, 1, 8, 12
SHAPE = {"n_layers": 2, "d_model": 16, "n_heads": 2}
SETTINGS = {
    **{"steps": 12, "batch_rows": 4, "learning_rate": 0.01, "warmup_steps": 4},
    **{"min_learning_rate_fraction": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.98)},
    **{"grad_clip": 1.0, "evaluate_every": 5, "seed": 0},
}


def settings(**changes):
    return TrainingSettings(**{**SETTINGS, **changes})


def tiny_model(seed=0, pad_id=PAD, **changes):
    return build_model(Architecture(**SHAPE, n_ctx=N_CTX), VOCAB_SIZE, BOS, pad_id, seed, **changes)


def padded_rows(n_rows, seed=0):
    """Rows of BOS, 2 to 6 random tokens and padding; [n_rows, N_CTX]."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(2, VOCAB_SIZE, (n_rows, N_CTX), generator=generator, dtype=torch.int32)
    lengths = torch.randint(3, N_CTX, (n_rows, 1), generator=generator)
    rows[torch.arange(N_CTX) >= lengths] = PAD
    rows[:, 0] = BOS
    return rows


def test_the_learning_rate_rises_and_falls_to_its_lowest_value():
    schedule = settings(steps=14, learning_rate=1.0)
    rates = [learning_rate(step, schedule) for step in range(14)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[-1] == pytest.approx(0.1)
    assert rates[7:10] == pytest.approx(
        [0.1 + 0.45 * (1 + math.cos(math.pi * done / 9)) for done in (3, 4, 5)]
    )
    assert learning_rate(0, settings(warmup_steps=0, learning_rate=1.0)) == 1.0


def test_every_row_comes_once_per_epoch_in_another_order():
    batches = torch.stack(list(islice(batch_indices(10, 4, seed=1), 5)))
    first, second = batches.flatten().split(10)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert torch.equal(torch.stack(list(islice(batch_indices(10, 4, seed=1), 5))), batches)
    big = torch.cat(list(islice(batch_indices(3, 7, seed=0), 3)))  # a batch of several epochs
    assert torch.bincount(big).tolist() == [7, 7, 7]


def test_the_loss_is_that_of_transformers_without_padding():
    model, rows = tiny_model().eval(), padded_rows(9).long()
    losses = next_token_losses(model, rows, PAD)
    expected = model(
        rows, attention_mask=(rows != PAD).long(), labels=rows.masked_fill(rows == PAD, -100)
    ).loss
    assert len(losses) == int((rows[:, 1:] != PAD).sum())
    assert torch.allclose(losses.mean(), expected, atol=1e-6)
    full = padded_rows(5).clamp_min(2).long()
    without_padding = next_token_losses(model, full, None)
    assert torch.allclose(without_padding.mean(), model(full, labels=full).loss, atol=1e-6)


def test_the_mean_loss_does_not_depend_on_the_batches():
    model, rows = tiny_model(dropout=0.3), padded_rows(11)
    whole = mean_loss(model.eval(), rows, PAD, batch_rows=11)
    model.train()
    assert mean_loss(model, rows, PAD, batch_rows=3) == pytest.approx(whole, rel=1e-6)
    assert model.training


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_same_seed_gives_the_same_bits(dropout):
    def trained(seed):
        model = tiny_model(seed, dropout=dropout)
        curve = train(model, padded_rows(30), padded_rows(8, 1), settings(seed=seed), PAD).curve
        return curve, model.state_dict()

    state_before = torch.random.get_rng_state()
    (curve, weights), (_, others) = trained(0), trained(1)
    assert torch.equal(torch.random.get_rng_state(), state_before)
    torch.rand(3)  # what the process drew before must not matter
    curve_again, weights_again = trained(0)
    assert curve_again == curve
    assert [point.step for point in curve] == [5, 10, 12]
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert not torch.equal(weights["lm_head.weight"], others["lm_head.weight"])


def test_rows_are_learnt_by_heart_and_the_best_model_is_kept():
    """Validation rows of noise get worse the better the training rows are known."""
    model, rows, noise = tiny_model(), padded_rows(4), padded_rows(40, seed=9)
    before = mean_loss(model, rows, PAD, 4)
    long = settings(steps=150, evaluate_every=10, weight_decay=0.0, learning_rate=0.02)
    curve = train(model, rows, noise, long, PAD).curve
    assert curve[-1].train_loss < 0.7 < before  # the first words remain a guess among four rows
    best = min(curve, key=lambda point: point.validation_loss)
    assert best.step < 150
    assert mean_loss(model, noise, PAD, 4) == pytest.approx(best.validation_loss, rel=1e-9)
    assert not model.training


def test_weight_decay_shrinks_matrices_alone():
    """With a vanishing gradient (clipped to nearly nothing) only the decay moves a parameter."""
    one_step = settings(
        steps=1, warmup_steps=0, evaluate_every=1, weight_decay=0.5, grad_clip=1e-30
    )
    model = tiny_model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1)  # biases start at zero, where decay would not show
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    train(model, padded_rows(8), padded_rows(4), one_step, PAD)
    for name, weight in model.named_parameters():
        factor = 1 - 0.01 * 0.5 if weight.dim() == 2 else 1.0
        assert torch.allclose(weight, before[name] * factor, atol=1e-6), name


def test_bfloat16_trains_parameters_in_float32():
    model = tiny_model()
    curve = train(model, padded_rows(30), padded_rows(8, 1), settings(dtype="bfloat16"), PAD).curve
    reference = train(tiny_model(), padded_rows(30), padded_rows(8, 1), settings(), PAD).curve
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert curve[-1].validation_loss == pytest.approx(reference[-1].validation_loss, rel=0.02)
    assert curve != reference


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="d_model 16 is not a multiple of n_heads 3"):
        build_model(Architecture(2, 16, 3, N_CTX), VOCAB_SIZE, BOS, PAD, seed=0)


def test_a_loss_that_explodes_is_refused():
    wild = settings(learning_rate=1e30, grad_clip=1e30, warmup_steps=0)
    with pytest.raises(InputError, match=r"validation loss is nan at step 5: lower training\."):
        train(tiny_model(), padded_rows(8), padded_rows(4), wild, PAD)


def test_the_trained_model_is_a_hugging_face_directory(tmp_path):
    """What is written loads with transformers and has the loss that the record says."""
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be:\nthat is the question.\n" * 40)
    corpus = CorpusFiles(
        *(tmp_path / f"{name}.safetensors" for name in ("train", "validation", "test")),
        tmp_path / "corpus.json",
    )
    tokenizer_files = [tmp_path / name for name in ("tokenizer.json", "tokenizer_config.json")]
    section = {
        **{"source": "text", "files": [text], "separator": None, "encoding": "utf-8"},
        **{"max_tokens": None, "fractions": {"validation": 0.1, "test": 0.1}},
    }
    build_corpus(corpus, *tokenizer_files, None, section, n_ctx=16, asked={})
    model_dir, record = tmp_path / "model", tmp_path / "training.json"
    train_model(
        corpus.train,
        corpus.validation,
        tokenizer_files,
        model_dir,
        record,
        SHAPE,
        {**SETTINGS, "betas": [0.9, 0.98], "steps": 30, "evaluate_every": 10},
        check_tasks=False,
        on=torch.device("cpu"),
    )
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    validation = read_tokens(corpus.validation).tokens
    written = json.loads(record.read_text())
    losses = next_token_losses(model, validation, None)
    assert losses.mean().item() == pytest.approx(written["validation_loss"], rel=1e-5)
    assert written["architecture"].items() >= {**SHAPE, "n_ctx": 16}.items()
    assert [point["step"] for point in written["curve"]] == [10, 20, 30]
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    assert tokenizer.decode(tokenizer("not to be:\nthat")["input_ids"]) == "not to be:\nthat"
    assert {path.name for path in model_dir.iterdir()} == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
