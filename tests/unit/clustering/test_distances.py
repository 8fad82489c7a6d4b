import json
import math

import activation_statistics
import layer_distances as layer_distances_script
import numpy as np
import pandas as pd
import pytest
import torch

from clustersae.activations.mask import save_limits, settle_limits
from clustersae.activations.shards import write_shard
from clustersae.clustering.distances import (
    NAMES,
    AngularDistance,
    LinearCKA,
    layer_distances,
    load_distance,
    save_distances,
)
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors

N_LAYERS, N_ROWS, D_MODEL = 4, 90, 12
TOLERANCE = {"rtol": 1e-11, "atol": 1e-11}


def angular(block):
    distance = AngularDistance()
    distance.add_batch(block)
    return distance.compute()


def cka(*blocks):
    distance = LinearCKA()
    for block in blocks:
        distance.add_batch(block)
    return distance.compute()


@pytest.fixture
def rows():
    """A random walk over layers: each layer is the last one plus an update and an offset."""
    torch.manual_seed(0)
    updates = torch.randn(N_LAYERS, N_ROWS, D_MODEL, dtype=torch.float64)
    return updates.cumsum(0) + 2 * torch.randn(N_LAYERS, 1, D_MODEL, dtype=torch.float64)


def planar(*degrees):
    """One token whose activation at layer i has length i + 1 and the i-th direction."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lengths = torch.arange(1, len(degrees) + 1)[:, None]
    return (torch.stack([angles.cos(), angles.sin()], dim=1) * lengths)[:, None, :]


# Angular distance


def test_angles_are_in_half_turns_whatever_the_lengths():
    expected = torch.tensor([[0, 1 / 6, 1 / 2, 1], [1 / 6, 0, 1 / 3, 5 / 6]], dtype=torch.float64)
    torch.testing.assert_close(angular(planar(0, 30, 90, 180))[:2], expected, rtol=0, atol=1e-8)


def test_angles_are_averaged_over_tokens_not_cosines():
    block = torch.cat([planar(0, 0), planar(0, 90), planar(0, 90)], dim=1)
    assert angular(block)[0, 1].item() == pytest.approx(1 / 3, abs=1e-8)


def test_small_angles_agree_with_kahans_formula():
    torch.manual_seed(1)
    x = torch.randn(200, 64, dtype=torch.float64)
    for size in (1e-2, 1e-5, 1e-7):
        y = x + size * torch.randn_like(x)
        u, v = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
        kahan = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1)) / math.pi
        ours = angular(torch.stack([x, y]))[0, 1].item()
        assert ours == pytest.approx(kahan.mean().item(), abs=2e-8 / math.pi)


def test_rounding_never_leaves_the_domain_of_arccos():
    torch.manual_seed(2)
    x = torch.randn(5000, 7, dtype=torch.float64)
    distance = angular(torch.stack([x, 3 * x, -x / 7]))
    expected = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(distance, expected, rtol=0, atol=2e-8)


def test_a_zero_vector_is_orthogonal_to_every_other():
    block = torch.zeros(3, 1, 2, dtype=torch.float64)
    block[0] = 1.0
    expected = 0.5 * (1 - torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(angular(block), expected, **TOLERANCE)


# Linear CKA


def hsic_1(k, m):
    """HSIC_1 as printed in Song et al. (2012), eq. 5."""
    n = len(k)
    k, m = k - torch.diag(torch.diag(k)), m - torch.diag(torch.diag(m))
    ones = torch.ones(n, dtype=k.dtype)
    return (
        torch.trace(k @ m)
        + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (ones @ k @ m @ ones)
    ) / (n * (n - 3))


def test_cka_is_the_printed_formula(rows):
    kernels = [layer @ layer.T for layer in rows]
    h = torch.tensor([[hsic_1(k, m) for m in kernels] for k in kernels], dtype=torch.float64)
    expected = 1 - h / (h.diag()[:, None] * h.diag()).sqrt()
    torch.testing.assert_close(cka(rows), expected, **TOLERANCE)


def test_cka_averages_hsic_over_minibatches_before_it_divides(rows):
    blocks = rows.split([30, 60], dim=1)
    h = torch.zeros(N_LAYERS, N_LAYERS, dtype=torch.float64)
    for block in blocks:
        kernels = [layer @ layer.T for layer in block]
        h += block.shape[1] * torch.tensor(
            [[hsic_1(k, m) for m in kernels] for k in kernels], dtype=torch.float64
        )
    expected = 1 - h / (h.diag()[:, None] * h.diag()).sqrt()
    torch.testing.assert_close(cka(*blocks), expected, **TOLERANCE)


def test_cka_ignores_rotation_scale_and_shift_of_a_layer(rows):
    torch.manual_seed(3)
    rotation, _ = torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, dtype=torch.float64))
    moved = rows.clone()
    moved[1] = -3 * rows[1] @ rotation + 5
    torch.testing.assert_close(cka(moved), cka(rows), rtol=0, atol=1e-10)
    same = cka(torch.stack([rows[1], moved[1]]))
    assert same[0, 1].item() == pytest.approx(0, abs=1e-10)


def test_cka_is_unbiased_where_the_common_estimator_is_not():
    # Independent layers in more dimensions than rows: biased CKA of such blocks is above 0.6.
    torch.manual_seed(4)
    blocks = torch.randn(400, 2, 16, 40, dtype=torch.float64)
    assert cka(*blocks)[0, 1].item() == pytest.approx(1, abs=0.02)


def test_blocks_too_small_for_hsic_are_left_out(rows):
    torch.testing.assert_close(cka(rows, rows[:, :3]), cka(rows), rtol=0, atol=0)
    with pytest.raises(InputError, match="at least 4 tokens"):
        cka(rows[:, :3])


def test_cka_of_a_constant_layer_is_refused(rows):
    rows[2] = 0
    with pytest.raises(InputError, match="layer 2 is the same for every token"):
        cka(rows)


# All of them together


@pytest.mark.parametrize("name", NAMES)
def test_exactly_symmetric_with_a_zero_diagonal(rows, name):
    distance = getattr(layer_distances(rows.split(40, dim=1), rows.mean(1)), name)
    assert torch.equal(distance, distance.T)
    assert (distance.diagonal() == 0).all()
    assert (distance[~torch.eye(N_LAYERS, dtype=torch.bool)] > 0).all()


def test_equal_to_numpy_token_by_token(rows):
    blocks, mean = rows.float().split(25, dim=1), rows.float().double().mean(1)
    distances = layer_distances(blocks, mean)
    x = rows.float().numpy().astype(np.float64)
    for name, y in (("angular", x), ("angular_centred", x - x.mean(1, keepdims=True))):
        expected = np.zeros((N_LAYERS, N_LAYERS))
        for i in range(N_LAYERS):
            for j in range(N_LAYERS):
                for a, b in zip(y[i], y[j]):
                    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                    expected[i, j] += np.arccos(min(cosine, 1.0)) / np.pi / N_ROWS
        np.testing.assert_allclose(getattr(distances, name), expected, atol=1e-8)
    assert distances.n_tokens == N_ROWS


def test_centring_removes_a_shared_offset_that_hides_the_angle(rows):
    offset = torch.zeros(D_MODEL, dtype=torch.float64)
    offset[0] = 1e4  # as the massive activations of real residual streams do
    distances = layer_distances([rows + offset], (rows + offset).mean(1))
    plain = layer_distances([rows], rows.mean(1))
    assert distances.angular.max() < 1e-3
    torch.testing.assert_close(distances.angular_centred, plain.angular_centred, rtol=0, atol=1e-8)


def test_relabelling_layers_relabels_distances(rows):
    order = [2, 0, 3, 1]
    moved = layer_distances([rows[order]], rows.mean(1)[order])
    plain = layer_distances([rows], rows.mean(1))
    for name in NAMES:
        expected = getattr(plain, name)[order][:, order]
        torch.testing.assert_close(getattr(moved, name), expected, **TOLERANCE)


def test_nan_is_refused_with_its_layer(rows):
    rows[3, 5, 5] = float("nan")
    with pytest.raises(InputError, match="layer 3 contain NaN"):
        layer_distances([rows], torch.zeros(N_LAYERS, D_MODEL, dtype=torch.float64))


def test_no_activations_are_refused():
    with pytest.raises(InputError, match="no activations"):
        layer_distances([], torch.zeros(N_LAYERS, D_MODEL, dtype=torch.float64))


def check_metadata(tensors):
    layers = list(range(N_LAYERS))
    assert load_distance(tensors, "cka")[1] == layers
    assert load_tensors(tensors)[1] == {
        "n_tokens": str(N_ROWS), "fingerprint": "cafe", "layers": json.dumps(layers)
    }  # fmt: skip


def test_both_files_hold_the_same_numbers_to_the_last_bit(rows, tmp_path):
    tensors, table = tmp_path / "distances.safetensors", tmp_path / "distances.csv"
    distances = layer_distances([rows], rows.mean(1))
    save_distances(tensors, table, distances, "cafe", range(len(distances.cka)))
    check_metadata(tensors)
    frame = pd.read_csv(table, float_precision="round_trip")
    assert list(frame.columns) == ["distance", "layer_i", "layer_j", "value"]
    assert len(frame) == len(NAMES) * N_LAYERS**2
    for name in NAMES:
        matrix = frame[frame.distance == name].pivot(
            index="layer_i", columns="layer_j", values="value"
        )
        assert np.array_equal(matrix, getattr(distances, name))
        assert np.array_equal(load_distance(tensors, name)[0], getattr(distances, name))


def test_an_unknown_distance_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"'euclidean' .* angular, angular_centred, cka"):
        load_distance(tmp_path / "distances.safetensors", "euclidean")


@pytest.mark.parametrize("bad", ["constant", "nan"])
def test_the_scripts_name_the_layer_of_the_model(rows, tmp_path, bad):
    """Two layers are studied, 5 and 9, and something is wrong with the second."""
    limits = settle_limits(torch.ones(2, 9), lambda kept: rows[:2].mean(1), (5, 9), 10, "cafe")
    save_limits(tmp_path / "n", limits)

    def write(second):
        ids = torch.arange(N_ROWS, dtype=torch.int32)
        write_shard(
            tmp_path / "shard", [rows[0].float(), second], ids, ids + 1, ids + 2, shard=0, seed=0,
            fingerprint="cafe", hook="h", split="train", studied=(5, 9),
        )  # fmt: skip

    def take_statistics():
        activation_statistics.main(
            [tmp_path / "shard"], tmp_path / "n", tmp_path / "s", tmp_path / "t"
        )

    write(2 * (torch.arange(N_ROWS) % 2)[:, None].expand(-1, D_MODEL).float())  # of mean 1
    take_statistics()
    broken = torch.ones(N_ROWS, D_MODEL)
    if bad == "nan":
        broken[3, 2] = torch.nan
    write(broken)
    with pytest.raises(InputError, match=r"activations of layer 9 (are the same|contain NaN)"):
        take_statistics()
    with pytest.raises(
        InputError, match=r"(undefined: layer 9 is|activations of layer 9 contain NaN)"
    ):
        layer_distances_script.main(
            [tmp_path / "shard"], tmp_path / "s", tmp_path / "d", tmp_path / "e", None,
            torch.device("cpu"),
        )  # fmt: skip


def test_the_scripts_measure_cached_activations(rows, tmp_path):
    activations = rows.bfloat16()
    shards = [tmp_path / "shard-0.safetensors", tmp_path / "shard-1.safetensors"]
    for index, part in enumerate(activations.split([60, 30], dim=1)):
        ids = torch.arange(part.shape[1], dtype=torch.int32)
        identity = {"fingerprint": "cafe", "hook": "h", "split": "train", "seed": 0}
        write_shard(shards[index], list(part), ids, ids + 1, ids + 2, shard=index, **identity)
    statistics, tensors, table = (tmp_path / name for name in ("s.safetensors", "d", "d.csv"))
    stream = rows.float().norm(dim=-1)
    limits = settle_limits(stream, lambda kept: rows.float().mean(1), range(len(rows)), 10, "cafe")
    save_limits(tmp_path / "n", limits)
    activation_statistics.main(shards, tmp_path / "n", statistics, tmp_path / "s.csv")
    cpu = torch.device("cpu")
    layer_distances_script.main(shards, statistics, tensors, table, tokens=None, where=cpu)

    mean = activations.double().mean(1)
    expected = layer_distances(activations.split([60, 30], dim=1), mean)
    for name in NAMES:
        np.testing.assert_allclose(
            load_distance(tensors, name)[0], getattr(expected, name), atol=1e-9
        )
    check_metadata(tensors)

    layer_distances_script.main(shards, statistics, tensors, table, tokens=30, where=cpu)
    some = [activations[:, :20], activations[:, 60:70]]
    expected = layer_distances(some, mean)
    np.testing.assert_allclose(load_distance(tensors, "cka")[0], expected.cka, atol=1e-9)
    assert load_tensors(tensors)[1]["n_tokens"] == "30"
