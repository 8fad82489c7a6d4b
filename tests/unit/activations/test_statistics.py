import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_shards import made_shard, write_split, write_statistics

from clustersae.activations.shards import open_shards
from clustersae.activations.statistics import (
    check_described,
    compute_statistics,
    described_shards,
    load_statistics,
    save_statistics,
)
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors, save_tensors

N_LAYERS, N_ROWS, D_MODEL = 3, 101, 8


@pytest.fixture
def rows():
    """Activations with layers of different offset and spread, in float32."""
    torch.manual_seed(0)
    spread = torch.tensor([0.5, 3.0, 40.0])[:, None, None]
    offset = 5 * torch.randn(N_LAYERS, 1, D_MODEL)
    return spread * torch.randn(N_LAYERS, N_ROWS, D_MODEL) + offset


def assert_same(statistics, expected, rtol=1e-12):
    for name in ("mean", "scale", "mean_norm", "deviation"):
        torch.testing.assert_close(
            getattr(statistics, name), getattr(expected, name), rtol=rtol, atol=0
        )
    assert statistics.count == expected.count


def test_equal_to_numpy_on_all_rows(rows):
    statistics = compute_statistics(rows.split(7, dim=1))
    x = rows.numpy().astype(np.float64)
    np.testing.assert_allclose(statistics.mean, x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(statistics.scale, np.sqrt(x.var(1).mean(-1)), rtol=1e-12)
    np.testing.assert_allclose(statistics.mean_norm, np.linalg.norm(x, axis=-1).mean(1), rtol=1e-12)
    np.testing.assert_allclose(statistics.deviation, x.std(1), rtol=1e-12)
    assert statistics.count == N_ROWS
    assert {statistics.mean.dtype, statistics.scale.dtype} == {torch.float64}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, N_ROWS), max_size=6))
def test_the_split_into_blocks_does_not_matter(cuts):
    torch.manual_seed(1)
    rows = torch.randn(N_LAYERS, N_ROWS, D_MODEL) + 3
    blocks = torch.tensor_split(rows, sorted(cuts), dim=1)  # some of them empty
    assert_same(compute_statistics(blocks), compute_statistics([rows]))


def test_normalised_activations_have_mean_square_one_per_dimension(rows):
    statistics = compute_statistics([rows])
    normalised = (rows - statistics.mean[:, None]) / statistics.scale[:, None, None]
    torch.testing.assert_close(
        normalised.square().mean((1, 2)), torch.ones(N_LAYERS, dtype=torch.float64)
    )


def test_a_huge_offset_costs_no_digits():
    # E[x²] − E[x]² in float64 would be wrong in the second digit here.
    torch.manual_seed(2)
    small = torch.randn(1, 1000, 4, dtype=torch.float64).mul(2**12).round().div(2**12)
    shifted = compute_statistics((small + 2.0**24).split(64, dim=1))
    plain = compute_statistics([small])
    torch.testing.assert_close(shifted.scale, plain.scale, rtol=1e-8, atol=0)


def test_half_precision_is_accumulated_in_float64():
    rows = torch.full((1, 5000, 2), 300.0, dtype=torch.float16)  # sums overflow float16
    rows[0, ::2] = 302.0
    statistics = compute_statistics(rows.split(512, dim=1))
    assert statistics.mean.tolist() == [[301.0, 301.0]]
    assert statistics.scale.tolist() == [1.0]


def test_a_dead_layer_is_named(rows):
    rows = rows.double()
    rows[1] = torch.rand(D_MODEL, dtype=torch.float64)
    assert (rows[1].mean(0) != rows[1, 0]).any()  # rounding leaves a spread above 0
    with pytest.raises(InputError, match="layer 1 are the same for every token"):
        compute_statistics(rows.split(13, dim=1))


def test_a_layer_of_zeros_is_dead(rows):
    rows[0] = 0
    rows[2] = 0
    with pytest.raises(InputError, match="layer 0, 2 are the same"):
        compute_statistics([rows])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_layer_that_is_not_finite_is_named(rows, bad):
    rows[2, 60, 3] = bad
    with pytest.raises(InputError, match="layer 2 contain NaN or infinity"):
        compute_statistics(rows.split(50, dim=1))


def test_one_token_has_no_spread(rows):
    with pytest.raises(InputError, match="hold 1 token,"):
        compute_statistics([rows[:, :1]])


def test_the_file_gives_back_the_statistics(rows, tmp_path):
    statistics = compute_statistics([rows])
    save_statistics(tmp_path / "statistics.safetensors", statistics, "cafe", range(len(rows)))
    assert_same(load_statistics(tmp_path / "statistics.safetensors", "cafe"), statistics, rtol=0)


def test_some_layers_are_read_by_their_index_in_the_model(rows, tmp_path):
    path = tmp_path / "statistics.safetensors"
    statistics = compute_statistics([rows])
    save_statistics(path, statistics, "cafe", range(1, 3 * len(rows), 3))
    read = load_statistics(path, "cafe", [4, 1])
    assert torch.equal(read.mean, statistics.mean[[1, 0]])
    assert torch.equal(read.deviation, statistics.deviation[[1, 0]])
    with pytest.raises(InputError, match=r"describes the layers \[1, 4, .* not all of \[2\]"):
        load_statistics(path, "cafe", [2])


def test_standardised_dimensions_have_unit_variance_and_quiet_ones_are_not_blown_up(rows):
    rows = rows.clone()
    rows[0, :, 2] = 5.0  # a dimension that does not vary
    statistics = compute_statistics([rows])
    assert torch.equal(statistics.scale_by("scale"), statistics.scale)
    scale = statistics.scale_by("dimensions")
    standardised = (rows.double() - statistics.mean[:, None]) / scale[:, None]
    variances = standardised.square().mean(1)
    assert variances[0, 2] == 0
    others = torch.cat([variances[0, :2], variances[0, 3:], variances[1:].flatten()])
    torch.testing.assert_close(others, torch.ones_like(others))


def test_statistics_of_another_model_are_refused(rows, tmp_path):
    path = tmp_path / "statistics.safetensors"
    save_statistics(path, compute_statistics([rows]), "cafe", range(len(rows)))
    with pytest.raises(InputError, match=r"statistics.safetensors .* model cafe, not beef"):
        load_statistics(path, "beef")


def test_the_file_says_which_shards_it_is_of(tmp_path):
    paths = write_split(tmp_path / "train")
    statistics = write_statistics(tmp_path / "statistics.safetensors", paths)
    assert described_shards(statistics) == paths
    check_described(statistics, open_shards(paths))
    for file in tmp_path.iterdir():  # wherever the folder is
        file.rename(file.with_name(f"moved-{file.name}"))
    (tmp_path / "moved-train").rename(tmp_path / "train")
    assert described_shards(tmp_path / "moved-statistics.safetensors") == paths
    paths[1].unlink()
    with pytest.raises(InputError, match=r"train-1.safetensors is not there.* Run again"):
        described_shards(tmp_path / "moved-statistics.safetensors")


def test_the_file_differs_where_any_number_of_a_shard_does(tmp_path):
    """Also by less than float64 sums notice: what reads the shards has this file as its input."""
    paths = write_split(tmp_path, rows=(40, 20))
    statistics = write_statistics(tmp_path / "statistics.safetensors", paths)
    before = statistics.read_bytes()
    assert write_statistics(statistics, paths).read_bytes() == before
    shard = open_shards(paths)[1]
    layers = [shard.layer(layer).clone() for layer in shard.layers]
    layers[0][3, 2] = torch.nextafter(layers[0][3, 2], torch.tensor(torch.inf))
    made_shard(paths[1], layers, (shard.tokens(), shard.positions(), shard.sequences()), shard=1)
    with pytest.raises(InputError, match=r"train-1.safetensors is not what it was .* Delete "):
        check_described(statistics, open_shards(paths))
    assert write_statistics(statistics, paths).read_bytes() != before
    check_described(statistics, open_shards(write_split(tmp_path, "validation")))  # not of them


@pytest.mark.parametrize("text", [None, "[]", "7", "[" * 10_000, '"x"'], ids=str)
def test_a_file_that_does_not_say_is_refused(tmp_path, text):
    statistics = write_statistics(tmp_path / "statistics.safetensors", write_split(tmp_path))
    tensors, metadata = load_tensors(statistics)
    del metadata["shards"]
    save_tensors(statistics, tensors, metadata | ({"shards": text} if text else {}))
    with pytest.raises(InputError, match="does not say which shards it is of"):
        described_shards(statistics)
