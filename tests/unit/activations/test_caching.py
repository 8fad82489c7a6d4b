import json

import pytest
import torch
import transformers
from language_models import (
    FAMILIES,
    N_CTX,
    N_LAYERS,
    STORIES,
    VOCAB_SIZE,
    needs_stories,
    save_tiny_model,
    stories,
    token_file,
    write_description,
)

from clustersae.activations.caching import (
    CachingSettings,
    cache_shard,
    measure_limits,
    remove_read,
    spread,
)
from clustersae.activations.collecting import Storage, Wanted, collect
from clustersae.activations.mask import Reason, load_limits, save_limits
from clustersae.activations.shards import open_shard, open_shards
from clustersae.corpora.tokens import write_tokens
from clustersae.models import loading
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors

BOS = 0


@pytest.fixture(scope="module", params=FAMILIES)
def model_dir(request, tmp_path_factory):
    folder = save_tiny_model(request.param, tmp_path_factory.mktemp(request.param))
    write_description(folder, folder / "description.json", "here")
    return folder


@pytest.fixture
def tokens(tmp_path) -> torch.Tensor:
    """Seven rows of unequal length: BOS, 3 to 23 tokens, padding."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, VOCAB_SIZE, (7, N_CTX), generator=generator)
    for row, length in enumerate([24, 4, 12, 20, 24, 9, 16]):
        ids[row, length:] = BOS
    ids[:, 0] = BOS
    write_tokens(tmp_path / "tokens.safetensors", token_file(ids, VOCAB_SIZE, BOS))
    return ids


def cache(
    model_dir, tmp_path, shard=0, n_shards=1, n_tokens=85, name="shard", layers="all",
    multiple=10, **settings,
):  # fmt: skip
    tokens, limits = tmp_path / "tokens.safetensors", tmp_path / "norms.safetensors"
    save_limits(limits, measure_limits(model_dir, tokens, layers, multiple, batch_rows=4))
    output = tmp_path / f"{name}-{shard}.safetensors"
    cost = cache_shard(
        model_dir, tokens, limits, "train", shard, n_shards, n_tokens, output,
        CachingSettings(**settings),
    )  # fmt: skip
    return output, cost


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_every_row_is_the_stream_of_its_token(model_dir, tokens, tmp_path, batch_rows):
    path, cost = cache(model_dir, tmp_path, batch_rows=batch_rows)
    description = read_description(model_dir)
    shard = open_shard(path, description.fingerprint)
    # One row at a time, unpadded: what the cached rows must be, however they were batched.
    stream = ResidualStream(load_model(model_dir, description), description)
    expected = [stream.capture(row[None]) for row in tokens]
    for index in range(shard.n_rows):
        row, column = int(shard.sequences()[index]), int(shard.positions()[index])
        assert shard.tokens()[index] == tokens[row, column]
        for layer in range(N_LAYERS):
            torch.testing.assert_close(
                shard.layer(layer)[index], expected[row][layer][0, column], rtol=1e-4, atol=1e-4
            )
    # 23 + 3 + 11 + 19 + 23 + 8: the first six rows are the first that hold 85 tokens.
    kept = (tokens[:6] != BOS).nonzero().tolist()
    cached = torch.stack([shard.sequences(), shard.positions()], 1).tolist()
    assert sorted(cached) == kept
    assert cost["n_tokens"] == 87


def test_rows_are_shuffled_reproducibly(model_dir, tokens, tmp_path):
    first = open_shard(cache(model_dir, tmp_path, seed=1)[0])
    again = open_shard(cache(model_dir, tmp_path, name="again", seed=1)[0])
    other = open_shard(cache(model_dir, tmp_path, name="other", seed=2)[0])
    assert again.checksums == first.checksums
    orders = [shard.sequences().tolist() for shard in (first, other)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) != orders[0]


def test_shards_together_hold_what_one_shard_would(model_dir, tokens, tmp_path):
    whole = open_shard(cache(model_dir, tmp_path)[0])
    expected = sorted(zip(whole.sequences().tolist(), whole.positions().tolist()))
    parts = open_shards(cache(model_dir, tmp_path, shard=i, n_shards=3)[0] for i in range(3))
    found = [
        pair for part in parts for pair in zip(part.sequences().tolist(), part.positions().tolist())
    ]
    assert sorted(found) == expected
    for part in parts:  # what is left out is of rows of their own, too
        rows = load_tensors(part.path)[0]["left_out"][2]
        assert rows.numel()
        assert torch.isin(rows, part.sequences()).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_types_round_the_difference_to_a_constant(model_dir, tokens, tmp_path, dtype):
    wide = open_shard(cache(model_dir, tmp_path)[0]).layer(2).clone()
    shard = open_shard(cache(model_dir, tmp_path, dtype=dtype)[0])
    centre = load_limits(tmp_path / "norms.safetensors").mean[2]
    rounded = (wide - centre).to(getattr(torch, dtype)).float()
    assert torch.equal(shard.layer(2), rounded + centre)
    assert shard.metadata["dtype"] == dtype
    lost = (wide - centre - rounded).double().square().sum()
    torch.testing.assert_close(shard.rounding()[2], lost)


def test_int8_is_off_by_half_a_step_of_the_row_at_most(model_dir, tokens, tmp_path):
    wide = open_shard(cache(model_dir, tmp_path)[0]).layer(2).clone()
    shard = open_shard(cache(model_dir, tmp_path, dtype="int8")[0])
    exact = wide - load_limits(tmp_path / "norms.safetensors").mean[2]
    step = exact.abs().amax(1, keepdim=True) / 127
    lost = shard.layer(2) - wide
    assert (lost.abs() <= 0.5001 * step + 1e-6).all()
    assert lost.abs().max() > 0.4 * step.min(), "and by no less: rows are rounded"
    torch.testing.assert_close(shard.rounding()[2], lost.double().square().sum(), rtol=1e-4, atol=0)


def test_tokens_left_out_of_int8_shards_take_their_scales_along(model_dir, tokens, tmp_path):
    given = {"n_tokens": 102, "multiple": 1.2}
    wide = open_shard(cache(model_dir, tmp_path, **given)[0])
    narrow = open_shard(cache(model_dir, tmp_path, name="narrow", dtype="int8", **given)[0])
    assert torch.equal(wide.tokens(), narrow.tokens())
    assert torch.equal(wide.reasons(), narrow.reasons())
    for layer in range(N_LAYERS):
        for one, other in (
            (wide.layer(layer), narrow.layer(layer)),
            (wide.left_out(layer), narrow.left_out(layer)),
        ):
            torch.testing.assert_close(one, other, rtol=0, atol=float(one.abs().max()) / 100)


@pytest.mark.parametrize("n_rows", [1, 2, 5, 1000, 2**24 + 4])
def test_a_sample_goes_from_the_first_row_to_the_last(n_rows):
    rows = spread(min(5, n_rows), n_rows)
    expected = [round(i * (n_rows - 1) / max(1, len(rows) - 1)) for i in range(len(rows))]
    assert rows.max() == n_rows - 1
    torch.testing.assert_close(rows, torch.tensor(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_what_rounding_has_changed_is_of_the_tokens_that_stay(model_dir, tokens, tmp_path, dtype):
    given = {"n_tokens": 102, "multiple": 1.2}
    wide = open_shard(cache(model_dir, tmp_path, **given)[0])
    narrow = open_shard(cache(model_dir, tmp_path, name="narrow", dtype=dtype, **given)[0])
    assert (wide.reasons() == Reason.NORM).any()
    assert not wide.rounding().any()
    for layer in range(N_LAYERS):
        lost = (narrow.layer(layer) - wide.layer(layer)).double().square().sum()
        torch.testing.assert_close(narrow.rounding()[layer], lost, rtol=1e-3, atol=0)


def test_large_means_do_not_cost_precision(tokens, tmp_path):
    """Dimensions around 300, −1000 and 80 with a spread of 0.1: bfloat16 has steps of 4 at 1000."""
    folder = save_tiny_model("gpt2", tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(0.1 / model.transformer.wte.weight.std())
        model.transformer.wte.weight[:, [1, 4, 7]] += torch.tensor([300.0, -1000.0, 80.0])
    model.save_pretrained(folder)
    write_description(folder, folder / "description.json", "here")
    wide = open_shard(cache(folder, tmp_path)[0]).layer(0).clone()
    narrow = open_shard(cache(folder, tmp_path, dtype="bfloat16")[0]).layer(0)
    variance = wide.var(0)
    lost = (narrow - wide).square().mean(0) / variance
    assert lost.max() < 1e-4
    plainly = (wide.bfloat16().float() - wide).square().mean(0) / variance
    assert plainly.max() > 1  # what was lost without the constant


def test_some_layers_alone_are_cached_as_with_all_others(model_dir, tokens, tmp_path):
    whole = open_shard(cache(model_dir, tmp_path)[0])
    part = open_shard(cache(model_dir, tmp_path, name="part", layers=[2, 0])[0])
    assert part.layers == (0, 2)
    for layer in part.layers:
        torch.testing.assert_close(part.layer(layer), whole.layer(layer))
    with pytest.raises(InputError, match=r"holds the layers \[0, 2\], not 1"):
        part.layer(1)


def test_left_out_tokens_are_remembered_with_the_reason(model_dir, tokens, tmp_path):
    """Two limits apart: all are kept, or those of a norm beyond the median's 1.2-fold are not."""
    whole = open_shard(cache(model_dir, tmp_path, n_tokens=102)[0])  # all there are
    assert set(whole.reasons().tolist()) == {int(Reason.SPECIAL)}
    assert len(whole.reasons()) == 7  # one BOS in each row
    narrow = open_shard(cache(model_dir, tmp_path, name="narrow", multiple=1.2, n_tokens=102)[0])
    out = narrow.reasons() == Reason.NORM
    assert 0 < int(out.sum()) < whole.n_rows
    limit = load_limits(tmp_path / "norms.safetensors").limit
    beyond = torch.stack(
        [narrow.left_out(layer)[out].norm(dim=1) > limit[layer] for layer in range(N_LAYERS)]
    )
    assert beyond.any(0).all()
    for layer in range(N_LAYERS):
        assert (narrow.layer(layer).norm(dim=1) <= limit[layer]).all()
    # No token is lost or counted twice, and those that stay are in the order that they had.
    places = [*zip(whole.sequences().tolist(), whole.positions().tolist())]
    stayed = [*zip(narrow.sequences().tolist(), narrow.positions().tolist())]
    assert stayed == [place for place in places if place in set(stayed)]
    assert len(set(stayed)) + int(out.sum()) == len(places)
    assert narrow.mask["max_norm_multiple"] == 1.2


def test_more_rows_are_read_where_tokens_are_left_out_for_their_norm(model_dir, tokens, tmp_path):
    few, _ = cache(model_dir, tmp_path, n_tokens=40, multiple=1.2)
    share = load_limits(tmp_path / "norms.safetensors").share_kept
    assert share < 1
    shard = open_shard(few)
    n_read = shard.n_rows + int((shard.reasons() == Reason.NORM).sum())
    assert n_read >= 40 / share


def test_what_overflows_float16_is_named_with_its_remedy(tokens, tmp_path):
    folder = scaled_model(tmp_path / "model", 1e6)
    with pytest.raises(
        InputError, match=r"layer 1 at row \d+, column \d+ .* activations\.dtype to bfloat16"
    ):
        cache(folder, tmp_path, dtype="float16")
    cache(folder, tmp_path, dtype="bfloat16")
    cache(folder, tmp_path, dtype="int8")


def test_what_overflows_in_a_model_of_float16_is_not_said_of_its_weights(tokens, tmp_path):
    folder = scaled_model(tmp_path / "model", 1e6)
    path = folder / "description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float16"}))
    for dtype in ("float32", "float16", "int8"):
        with pytest.raises(InputError, match=r"infinite\. .* models\.NAME\.dtype: bfloat16"):
            cache(folder, tmp_path, dtype=dtype)


def test_a_pass_without_room_names_what_makes_it_smaller(model_dir, tokens, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ResidualStream, "visit", full)
    with pytest.raises(InputError, match=r"a pass of \d+ rows .* Lower activations\.batch_rows"):
        cache(model_dir, tmp_path)


def test_activations_that_are_not_finite_are_named(tokens, tmp_path):
    # One embedding is damaged after the model was described, as the probe would have met it.
    folder = scaled_model(tmp_path / "model", 1.0)
    description = read_description(folder)
    model = load_model(folder, description)
    model.transformer.wte.weight[int(tokens[3, 5])] = float("nan")
    model.save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "fingerprint", lambda _: description.fingerprint)
        with pytest.raises(InputError, match=r"layer 0 at row \d+, column \d+ .* NaN or infinite"):
            cache(folder, tmp_path)
        read = load_model(folder, description)
    assert not (tmp_path / "shard-0.safetensors").exists()
    # In int8 there is no number that is none: it is the scale that tells.
    wanted = Wanted(torch.arange(tokens.numel()).view_as(tokens), torch.zeros_like(tokens).bool())
    centre = torch.zeros(N_LAYERS, description.d_model)
    storage = Storage(torch.int8, range(N_LAYERS), centre)
    with pytest.raises(InputError, match=r"layer 0 at row \d+, column \d+ .* NaN or infinite"):
        collect(ResidualStream(read, description), tokens, wanted, description.d_model, storage)


def scaled_model(folder, scale):
    """A GPT-2 whose block 1 adds activations of about `scale`."""
    save_tiny_model("gpt2", folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.transformer.h[1].mlp.c_proj.weight *= scale
    model.save_pretrained(folder)
    write_description(folder, folder / "description.json", "here")
    return folder


def test_tokens_of_another_vocabulary_are_refused(model_dir, tmp_path):
    ids = torch.full((4, N_CTX), VOCAB_SIZE + 5)
    write_tokens(tmp_path / "tokens.safetensors", token_file(ids, VOCAB_SIZE + 6, BOS))
    with pytest.raises(InputError, match=r"token ids from 55 to 55, .* has 50 entries"):
        cache(model_dir, tmp_path)


def test_rows_longer_than_the_context_are_refused(model_dir, tmp_path):
    ids = torch.ones(4, N_CTX + 1, dtype=torch.int64)
    write_tokens(tmp_path / "tokens.safetensors", token_file(ids, VOCAB_SIZE, BOS))
    with pytest.raises(InputError, match="rows of 25 tokens, but the model reads at most 24"):
        cache(model_dir, tmp_path)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(InputError, match=r"activations\.dtype is 'int4'"):
        CachingSettings(dtype="int4")


@needs_stories
def test_a_real_model_is_cached_as_transformerlens_sees_it(tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    model_dir = tmp_path / "model"
    model_dir.mkdir()
    for file in STORIES.iterdir():
        (model_dir / file.name).symlink_to(file.resolve())
    write_description(model_dir, model_dir / "description.json", "stories260k")
    ids = stories(4, 200)
    write_tokens(tmp_path / "tokens.safetensors", token_file(ids, 512, 1))
    path, cost = cache(model_dir, tmp_path, n_tokens=500, batch_rows=2)
    shard = open_shard(path)
    bridge = TransformerBridge.boot_transformers(str(STORIES), device="cpu")
    with torch.no_grad():
        _, activations = bridge.run_with_cache(ids)
    where = (shard.sequences().long(), shard.positions().long())
    for layer in range(5):
        expected = activations[f"blocks.{layer}.hook_resid_post"][where]
        torch.testing.assert_close(shard.layer(layer), expected, rtol=1e-4, atol=1e-4)
    assert cost["n_tokens"] == shard.n_rows >= 500


def test_what_a_killed_run_has_left_of_shards_goes_with_the_next_window(tmp_path):
    for window in (1, 2, 3, 10):
        for suffix in ("safetensors", "json"):
            (tmp_path / str(window)).mkdir(exist_ok=True)
            (tmp_path / f"{window}/shard-5.{suffix}").touch()
    remove_read(tmp_path, 2)
    left = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.glob("*/*.safetensors"))
    assert left == ["10/shard-5.safetensors", "3/shard-5.safetensors"]
    assert len(list(tmp_path.glob("*/*.json"))) == 4
    remove_read(tmp_path, -1)
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 2
