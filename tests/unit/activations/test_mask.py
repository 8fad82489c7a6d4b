"""Two planted massive activations: what is measured must be what it is without them."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import transformers
from language_models import save_tiny_tokenizer, write_description
from sae_settings_of import topk_settings

from clustersae.activations.blocks import layer_blocks, read_blocks
from clustersae.activations.caching import CachingSettings, cache_shard, measure_limits
from clustersae.activations.mask import Reason, load_limits, save_limits, settle_limits, within
from clustersae.activations.shards import Shard, open_shard
from clustersae.activations.statistics import compute_statistics
from clustersae.activations.table import stream_table
from clustersae.corpora.tokens import TokenFile, Vocabulary, write_tokens
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.runtime.errors import InputError
from clustersae.sae.fitting import Activations, fit

N_WORDS, N_CTX, D_MODEL, LAYER = 60, 16, 24, 1
RARE, DIMENSION, MASSIVE = 59, 5, 3000.0
SETTINGS = topk_settings(
    48, 4, n_steps=900, batch_size=128, learning_rate=0.005, warmup_steps=45,
    decay_steps=450, dead_after=4000,
)  # fmt: skip


def write_model(folder: Path, family: str, planted: bool) -> Path:
    """A GPT-2 of which position 0, or a Llama of which one word, is massive in one dimension.

    Attention reads nothing from that dimension and writes little, so that the plant is all that
    differs.
    """
    sizes = {"vocab_size": N_WORDS, "bos_token_id": None, "eos_token_id": None}
    torch.manual_seed(0)
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_positions=N_CTX, n_embd=D_MODEL, n_layer=2, n_head=2, **sizes
        )
        model = transformers.AutoModelForCausalLM.from_config(config)
        place = model.transformer.wpe.weight[0]
        readers = [block.attn.c_attn.weight[DIMENSION] for block in model.transformer.h]
        writers = [block.attn.c_proj.weight for block in model.transformer.h]
    else:
        config = transformers.LlamaConfig(
            max_position_embeddings=N_CTX, hidden_size=D_MODEL, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=48, **sizes,
        )  # fmt: skip
        model = transformers.AutoModelForCausalLM.from_config(config)
        place = model.model.embed_tokens.weight[RARE]
        readers = [
            getattr(block.self_attn, name).weight[:, DIMENSION]
            for block in model.model.layers
            for name in ("q_proj", "k_proj", "v_proj")
        ]
        writers = [block.self_attn.o_proj.weight for block in model.model.layers]
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(20)
        for reader in readers:
            reader.zero_()
        for writer in writers:
            writer.mul_(0.05)
        if planted:
            place[DIMENSION] = MASSIVE
    model.save_pretrained(folder)
    save_tiny_tokenizer(folder, N_WORDS)
    write_description(folder, folder / "description.json", "here")
    return folder


def write_text(path: Path, seed: int, n_rows: int = 1000) -> Path:
    """Rows of random words, without a BOS; one word makes up 0.23 % of them."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(N_WORDS - 1, (n_rows, N_CTX), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.0023] = RARE
    write_tokens(path, TokenFile(ids.int(), Vocabulary("test", N_WORDS, None, None), "test", "0"))
    return path


def cached(folder: Path, model: Path, multiple: float | None, split: str, seed: int) -> Shard:
    tokens = write_text(folder / f"{split}.safetensors", seed)
    limits = folder / "norms.safetensors"
    if split == "train":
        save_limits(limits, measure_limits(model, tokens, "all", multiple, 64))
    output = folder / f"{split}-shard.safetensors"
    cache_shard(model, tokens, limits, split, 0, 1, 14000, output, CachingSettings(batch_rows=64))
    return open_shard(output)


def fvu_of(folder: Path, family: str, planted: bool, multiple: float | None) -> tuple[float, list]:
    """Mean test FVU of SAEs of LAYER, and the table of the stream.

    Trainings so short differ by 2 % from seed to seed, and so do those whose tokens are others.
    """
    folder.mkdir()
    model = write_model(folder / "model", family, planted)
    train, test = (cached(folder, model, multiple, *each) for each in (("train", 1), ("test", 2)))
    statistics = compute_statistics(read_blocks([train]))
    index = [train.layers.index(LAYER)]
    data = Activations([train], (LAYER,), statistics.mean[index], statistics.scale[index])
    found = []
    for seed in range(3):
        settings = dataclasses.replace(SETTINGS, seed=seed)
        sae = fit(data, settings, folder / f"checkpoint-{seed}", "SAE", torch.device("cpu")).sae
        blocks = layer_blocks([test], LAYER)
        found.append(evaluate_layer(sae.eval().requires_grad_(False), LAYER, blocks).compute())
    limits = load_limits(folder / "norms.safetensors")
    fvu = sum(each["fvu"] for each in found) / len(found)
    return fvu, stream_table([train], statistics, limits)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_planted_massive_activation_leaves_fvu_as_it_is_without(tmp_path, family):
    plain, _ = fvu_of(tmp_path / "plain", family, planted=False, multiple=10)
    masked, table = fvu_of(tmp_path / "masked", family, planted=True, multiple=10)
    assert masked == pytest.approx(plain, rel=0.02)
    reason = {"gpt2": "first", "llama": "norm"}[family]
    assert table[LAYER][f"n_{reason}"] > 20
    assert table[LAYER][f"{reason}_share"] > 0.9
    assert table[LAYER]["n_norm"] == 0 or family == "llama"


def test_the_trap_is_there(tmp_path):
    """Without a limit of the norm, FVU tells of the planted word alone."""
    plain, _ = fvu_of(tmp_path / "plain", "llama", planted=False, multiple=None)
    unmasked, table = fvu_of(tmp_path / "unmasked", "llama", planted=True, multiple=None)
    assert unmasked < plain / 5
    assert table[LAYER]["n_norm"] == 0
    assert table[LAYER]["largest_dimension"] == DIMENSION
    assert table[LAYER]["largest_dimension_share"] > 0.9


def test_shares_of_the_variance_are_those_of_numpy(tmp_path):
    """Kept and left-out tokens against one array of all of them."""
    model = write_model(tmp_path / "model", "llama", planted=True)
    shard = cached(tmp_path, model, 10, "train", 1)
    statistics = compute_statistics(read_blocks([shard]))
    table = stream_table([shard], statistics, load_limits(tmp_path / "norms.safetensors"))
    for row in table:
        kept = shard.layer(row["layer"]).double()
        everything = torch.cat([kept, shard.left_out(row["layer"]).double()])
        squares = (kept - kept.mean(0)).square()
        whole = (everything - everything.mean(0)).square().sum()
        assert row["left_out_share"] == pytest.approx(float(1 - squares.sum() / whole), rel=1e-6)
        tokens = squares.sum(1)
        largest = tokens.topk(10).values.sum() / tokens.sum()
        assert row["ten_tokens_share"] == pytest.approx(float(largest), rel=1e-9)
        dimension = squares.sum(0).max() / squares.sum()
        assert row["largest_dimension_share"] == pytest.approx(float(dimension), rel=1e-9)
        assert row["n_norm"] == int((shard.reasons() == Reason.NORM).sum())


def settled(norms, multiple=10.0):
    return settle_limits(torch.tensor(norms), lambda kept: kept, (0, 3), multiple, "cafe")


def test_limits_are_a_multiple_of_the_median_and_any_layer_decides():
    limits = settled([[1.0, 2.0, 3.0, 31.0], [5.0, 5.0, 51.0, 4.0]])
    assert limits.median.tolist() == [2.0, 5.0]
    assert limits.limit.tolist() == [20.0, 50.0]
    assert limits.mean.tolist() == [True, True, False, False]
    assert limits.share_kept == 0.5
    streams = [torch.tensor([[3.0, 4.0], [0.0, 20.0], [0.0, 20.1]]), torch.zeros(3, 2)]
    assert limits.inside(streams).tolist() == [True, True, False]
    assert limits.inside(streams[::-1]).tolist() == [True, True, True]
    with pytest.raises(ValueError, match="1 streams for the 2 studied layers"):
        limits.inside(streams[:1])


def test_a_norm_that_half_precision_does_not_hold_is_a_norm():
    x = torch.full((1, 4), 4e4, dtype=torch.float16)  # of norm 8e4, where 65504 is the largest
    assert [within(x, limit).item() for limit in (7e4, 1e5)] == [False, True]


def test_no_multiple_is_no_limit():
    limits = settled([[1.0, 1e30], [1.0, 1.0]], None)
    assert limits.share_kept == 1
    assert limits.limit.tolist() == [math.inf, math.inf]
    assert limits.described() == {"max_norm_multiple": None, "max_norm": None}


def test_activations_that_are_mostly_zero_have_no_limit():
    with pytest.raises(InputError, match="Half of the activations of layer 3 are zero"):
        settled([[1.0, 1.0], [0.0, 0.0]])


def test_limits_come_back_from_their_file_and_those_of_another_model_are_refused(tmp_path):
    limits = settle_limits(torch.ones(2, 5), lambda kept: torch.rand(2, 3), (0, 3), 7.5, "cafe")
    save_limits(tmp_path / "norms", limits)
    read = load_limits(tmp_path / "norms", "cafe")
    assert torch.equal(read.mean, limits.mean)
    assert torch.equal(read.median, limits.median)
    assert (read.layers, read.multiple, read.share_kept) == ((0, 3), 7.5, 1.0)
    assert read.described() == {"max_norm_multiple": 7.5, "max_norm": {"0": 7.5, "3": 7.5}}
    with pytest.raises(InputError, match="belongs to another model"):
        load_limits(tmp_path / "norms", "beef")
