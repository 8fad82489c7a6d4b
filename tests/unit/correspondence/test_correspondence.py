"""Correspondence of latents: identical, permuted, dead and hand-worked cases."""

import csv
from weakref import WeakValueDictionary

import evaluate_correspondence
import numpy as np
import pytest
import torch
from dense_latents import dense
from evaluate_correspondence import main
from held_saes import Held
from sae_settings_of import topk_settings
from scipy import sparse
from synthetic_shards import made_shard

from clustersae.correspondence.measure import (
    agreement,
    at_random,
    by_index,
    compare,
    independent_rows,
    matched,
    same_start_rows,
    specialised_rows,
)
from clustersae.correspondence.measures import CORRESPONDENCE_MEASURES as MEASURES
from clustersae.latents import decoders
from clustersae.latents.code import Code, encode_tokens, first_tokens
from clustersae.latents.decoders import Decoders
from clustersae.latents.layer_pairs import MOST_PAIRS
from clustersae.latents.matching import assign, greedy
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import save_sae


def code_of(activations, decoder=None):
    """A code with the given activations [n_tokens, d_sae]; by default the decoder is a basis."""
    activations = np.asarray(activations, dtype=np.float64)
    rows = torch.eye(activations.shape[1]) if decoder is None else torch.as_tensor(decoder)
    return Code(rows.float(), sparse.csr_array(activations))


def random_code(d_sae=24, n_tokens=200, d_model=16, seed=0):
    generator = np.random.default_rng(seed)
    fires = generator.random((n_tokens, d_sae)) < 0.2
    rows = generator.standard_normal((d_sae, d_model))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return code_of(fires * generator.random((n_tokens, d_sae)), rows)


def permuted(code, order):
    return Code(code.decoder[order], code.activations[:, order])


def random_sae(layers=(0, 1), d_sae=24, d_model=8, k=3, seed=0):
    sae = TopK(layers, d_sae, k, torch.zeros(len(layers), d_model), torch.ones(len(layers)))
    sae.initialise(torch.Generator().manual_seed(seed))
    return sae


def test_an_sae_corresponds_to_itself_in_every_way():
    code = random_code()
    result = compare(code, code, by_index(code, code))
    assert [result[name] for name in MEASURES] == pytest.approx([1] * 5)
    assert (result["n_latents"], result["share_alive"], result["n_tokens"]) == (24, 1, 200)


@pytest.mark.parametrize("limit", [24, 23])  # hungarian, greedy
def test_matching_recovers_a_permuted_copy(limit):
    code = random_code()
    order = np.random.default_rng(1).permutation(24)
    copy = permuted(code, order)
    pairing = matched(code, copy, limit)
    assert pairing.method == ("hungarian" if limit == 24 else "greedy")
    assert (order[pairing.other] == pairing.own).all()
    assert compare(code, copy, pairing)["jaccard"] == pytest.approx(1)
    assert compare(code, copy, by_index(code, copy))["share_above_0.9"] < 0.2


def test_measures_of_four_tokens_worked_by_hand():
    # Latent 0 fires on tokens {0, 1, 2} and {1, 2, 3}, latent 1 on {3} and {3}.
    own = code_of([[1, 0], [1, 0], [1, 0], [0, 2]])
    # Rows at 60° to each other and at 18°.
    rows = torch.tensor([[0.5, 0.75**0.5], [(1 - 0.95**2) ** 0.5, 0.95]])
    other = code_of([[0, 0], [3, 0], [3, 0], [3, 5]], rows)
    result = compare(own, other, by_index(own, other))
    assert result["mean_cosine"] == pytest.approx((0.5 + 0.95) / 2)
    assert result["share_above_0.9"] == 0.5
    assert result["jaccard"] == pytest.approx((2 / 4 + 1) / 2)
    assert result["jaccard_weighted"] == pytest.approx((2 + 1) / (4 + 1))
    expected = np.corrcoef([1, 1, 1, 0], [0, 3, 3, 3])[0, 1]
    assert result["correlation"] == pytest.approx((expected + 1) / 2)
    # In which unit latents are says nothing.
    small = [Code(each.decoder, each.activations / 1000) for each in (own, other)]
    assert compare(*small, by_index(*small)) == pytest.approx(result, nan_ok=True)


def test_correlation_is_that_of_numpy_and_zero_for_a_constant():
    a, b = random_code(seed=1), random_code(seed=2)
    dense = [each.activations.toarray() for each in (a, b)]
    expected = [np.corrcoef(dense[0][:, i], dense[1][:, i])[0, 1] for i in range(24)]
    assert compare(a, b, by_index(a, b))["correlation"] == pytest.approx(np.mean(expected))
    constant = code_of(np.full((4, 1), 0.3))
    assert compare(constant, constant, by_index(constant, constant))["correlation"] == 0


def test_dead_latents_are_left_out():
    # Latent 1 is dead in one, latent 2 in the other, latent 3 in both.
    own = code_of([[1, 0, 1, 0], [1, 0, 1, 0]])
    other = code_of([[1, 1, 0, 0], [0, 1, 0, 0]])
    pairing = by_index(own, other)
    assert pairing.own.tolist() == pairing.other.tolist() == [0]
    result = compare(own, other, pairing)
    assert (result["n_latents"], result["share_alive"]) == (1, pytest.approx(1 / 3))
    assert result["jaccard"] == 0.5
    # Matching pairs live latents only, though dead ones point the same way.
    pairing = matched(own, other)
    assert sorted(pairing.own) == [0, 2]
    assert sorted(pairing.other) == [0, 1]
    for seed in range(5):
        pairing = at_random(own, other, np.random.default_rng(seed))
        assert set(pairing.own) <= {0, 2}
        assert set(pairing.other) <= {0, 1}
    more = code_of([[1, 1, 1, 0]])
    assert [matched(*pair).n_either for pair in ((more, other), (other, more))] == [3, 3]
    dead = code_of(np.zeros((2, 4)))
    result = compare(own, dead, by_index(own, dead))
    assert result["n_latents"] == 0
    assert np.isnan(result["jaccard"])
    assert np.isnan(compare(dead, dead, by_index(dead, dead))["share_alive"])


def test_a_random_pairing_never_pairs_a_latent_with_itself():
    code = random_code()
    pairing = at_random(code, code, np.random.default_rng(0))
    assert sorted(pairing.own) == sorted(pairing.other) == list(range(24))
    assert (pairing.own != pairing.other).all()
    assert compare(code, code, pairing)["share_above_0.9"] == 0


def test_the_optimal_matching_beats_the_greedy_one():
    # Greedy takes 0.9 and is left with 0.1; the best sum is 0.8 + 0.8.
    similarity = np.array([[0.9, 0.8], [0.8, 0.1]])
    own, other, method = assign(similarity)
    assert (dict(zip(own, other)), method) == ({0: 1, 1: 0}, "hungarian")
    own, other, method = assign(similarity, limit=1)
    assert (dict(zip(own, other)), method) == ({0: 0, 1: 1}, "greedy")


def test_greedy_takes_the_most_similar_pair_again_and_again():
    similarity = np.random.default_rng(0).random((12, 9))
    expected, left = {}, similarity.copy()
    for _ in range(9):
        row, column = np.unravel_index(left.argmax(), left.shape)
        expected[row] = column
        left[row], left[:, column] = -1, -1
    assert dict(zip(*greedy(torch.from_numpy(similarity)))) == expected
    assert sorted(greedy(torch.ones(3, 4))[1]) == [0, 1, 2]
    # Of equally similar pairs the first is taken, on every device.
    assert [each.tolist() for each in greedy(torch.ones(2, 2))] == [[0, 1], [0, 1]]
    assert greedy(torch.ones(0, 4))[0].size == 0


def test_codes_are_what_the_sae_says_and_do_not_depend_on_blocks():
    sae = random_sae()
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    whole = encode_tokens(sae, 1, [x])
    values = dense(sae.encode(x, 1), 24)
    assert whole.activations.toarray() == pytest.approx(values.detach().double().numpy())
    assert (whole.activations.data > 0).all()
    pieces = encode_tokens(sae, 1, x.split([1, 30, 19]))
    assert pieces.activations.toarray() == pytest.approx(whole.activations.toarray(), abs=1e-6)
    assert [len(block) for block in first_tokens(x.split(20), 30)] == [20, 10]
    assert sum(len(block) for block in first_tokens(x.split(20), 1000)) == 50


def firing(decoder, counts, n_tokens=10):
    """A code whose latent i fires on its first `counts[i]` tokens."""
    fires = np.arange(n_tokens)[:, None] < np.asarray(counts)
    return Code(torch.tensor(decoder), sparse.csr_array(fires.astype(float)))


def test_agreement_by_hand():
    """Latents of a: x (fires 3 times), y (once); of b: x (once), the diagonal (once), dead -y."""
    half = 0.5**0.5
    a = firing([[1.0, 0.0], [0.0, 1.0]], [3, 1])
    b = firing([[1.0, 0.0], [half, half], [0.0, -1.0]], [1, 1, 0])
    # From a: x finds x, y the diagonal; from b: x finds x, the diagonal either.
    expected = ((3 * 1 + 1 * half) / 4 + (1 + half) / 2) / 2
    assert agreement(a, b) == pytest.approx(expected)
    assert agreement(b, a) == pytest.approx(expected)


def test_agreement_knows_no_names_and_no_dead_latents():
    code = random_code(seed=3)
    order = [*range(5, 24), *range(5)]
    assert agreement(code, permuted(code, order)) == pytest.approx(1)
    split = firing([[1.0, 0.0], [1.0, 0.0]], [2, 5])
    assert agreement(split, firing([[1.0, 0.0]], [4])) == pytest.approx(1)
    silent = firing([[1.0, 0.0]], [0])
    assert np.isnan([agreement(split, silent), agreement(silent, split)]).all()
    other = random_code(seed=4)
    assert 0 < agreement(code, other) < 1


def test_rows_of_a_family_that_specialising_left_as_it_was():
    before = {layer: random_code(seed=layer) for layer in (0, 1, 3)}
    rows = list(specialised_rows(before, before, np.random.default_rng(0)))
    places = [(row["kind"], row["layer"], row["other_layer"]) for row in rows]
    assert len(set(places)) == len(rows) == 3 + 3 * 3
    by_place = dict(zip(places, rows))
    for layer in before:
        assert by_place["ancestor", layer, layer]["jaccard"] == pytest.approx(1)
    same = [by_place[kind, 0, 3] | {"kind": ""} for kind in ("siblings", "shared")]
    assert same[0] == same[1]
    others = {layer: permuted(code, [*range(1, 24), 0]) for layer, code in before.items()}
    rows = independent_rows(before, others, np.random.default_rng(0))
    found = {(row["layer"], row["other_layer"]) for row in rows}
    assert found == {(0, 1), (0, 3), (1, 3)}


def test_of_many_layers_a_sample_is_matched_and_the_rest_is_left():
    codes, others = (
        {layer: random_code(6, 40, 5, seed + layer) for layer in range(17)} for seed in (0, 50)
    )
    rows = list(independent_rows(codes, others, np.random.default_rng(0)))
    assert len(rows) == MOST_PAIRS < len(list(same_start_rows(codes))) == 136
    for row in rows:
        a, b = codes[row["layer"]], others[row["other_layer"]]
        assert row.items() >= compare(a, b, matched(a, b)).items()


def save(folder, sae, variant, name, seed):
    settings = topk_settings(sae.d_sae, sae.k, seed=seed)
    save_sae(folder, sae, settings, variant, "model", name)
    return folder


@pytest.fixture
def shard(tmp_path):
    generator = torch.Generator().manual_seed(0)
    layer = torch.randn(60, 8, generator=generator)
    places = [torch.arange(60, dtype=torch.int32) for _ in range(3)]
    layers = [layer, layer.clone()]  # both hold the same
    facts = {"fingerprint": "model", "split": "test"}
    return made_shard(tmp_path / "shard-0.safetensors", layers, places, **facts)


def written(tmp_path, shard, folders, variant, partition):
    out = tmp_path / "correspondence.csv"
    main(folders, [shard], variant, partition, out, 40, 0, torch.device("cpu"))
    with open(out, newline="") as file:
        return list(csv.DictReader(file))


def test_a_specialised_arm_is_compared_seed_by_seed(tmp_path, shard):
    folders = []
    for seed in (0, 1):
        root = random_sae(seed=seed)
        folders.append(save(tmp_path / f"root-{seed}", root, "tokens-3of4", "0-1", seed))
        for layer in (0, 1):
            own = random_sae((layer,), seed=9)
            own.take_over(root)
            folder, name = tmp_path / f"{layer}-{seed}", f"{layer}@0-1"
            folders.append(save(folder, own, "tokens-1of4@tokens-3of4", name, seed))
    rows = written(tmp_path, shard, folders, "tokens-1of4@tokens-3of4", "per-layer@single")
    between = [row for row in rows if row["kind"].endswith("_seed")]
    assert [(row["kind"], row["layer"], row["seed"], row["other_seed"]) for row in between] == [
        (kind, layer, "0", "1") for kind in ("root_seed", "specialised_seed") for layer in "01"
    ]
    # Untouched by specialising, as far apart as what they started from.
    assert [row["agreement"] for row in between[:2]] == [row["agreement"] for row in between[2:]]
    assert all(0 < float(row["agreement"]) < 0.99 for row in between)
    rows = [row for row in rows if row not in between]
    assert len(rows) == 2 * 5
    assert {row["agreement"] for row in rows} == {"nan"}
    for row in rows:
        assert (row["root"], row["n_tokens"], row["seed"]) == ("0-1", "40", row["other_seed"])
        expected = 1 if row["kind"] != "shuffled" else pytest.approx(0, abs=0.4)
        assert float(row["jaccard"]) == expected  # both layers read the same, untouched


def test_per_layer_saes_meet_those_of_the_next_seed(tmp_path, shard):
    folders = []
    for layer in (0, 1):
        for seed in (0, 1):
            sae = random_sae((layer,), seed=seed)
            folders.append(save(tmp_path / f"{layer}-{seed}", sae, "base", str(layer), seed))
    rows = written(tmp_path, shard, folders, "base", "per-layer")
    kinds = [(row["kind"], row["seed"], row["other_seed"]) for row in rows]
    assert sorted(kinds) == [
        *[("independent", "0", "1"), ("independent", "1", "0")],
        *[("independent_seed", "0", "1")] * 2,
        *[("same_start", "0", "0"), ("same_start", "1", "1")],
    ]
    # One seed is one random start: untrained SAEs of two layers agree by index.
    started = [float(row["jaccard"]) for row in rows if row["kind"] == "same_start"]
    assert started == [1, 1]
    # A lone seed has no independent counterpart.
    alone = written(tmp_path, shard, folders[::2], "base", "per-layer")
    assert [(row["kind"], row["seed"]) for row in alone] == [("same_start", "0")]
    cluster = save(tmp_path / "cluster", random_sae(), "base", "0-1", 0)
    with pytest.raises(InputError, match="SAE for every layer"):
        written(tmp_path, shard, [cluster], "base", "single")


class Counted(Decoders):
    """Counts the decoders that are alive, as `held_saes` does SAEs."""

    alive, most_alive = WeakValueDictionary(), 0

    def hold(self, folder, decoder):
        super().hold(folder, decoder)
        self.alive[id(decoder)] = decoder
        type(self).most_alive = max(self.most_alive, len(self.alive))


def test_few_decoders_are_held_and_the_rows_are_those_of_all_held(tmp_path, shard, monkeypatch):
    arms = {"per-layer": [], "per-layer@single": []}
    for seed in range(4):
        root = random_sae(seed=seed)
        arms["per-layer@single"].append(save(tmp_path / f"root-{seed}", root, "a", "0-1", seed))
        for layer in (0, 1):
            alone = random_sae((layer,), seed=seed)
            own = random_sae((layer,), seed=9)
            own.take_over(root)
            places = tmp_path / f"{layer}-{seed}", tmp_path / f"own-{layer}-{seed}"
            arms["per-layer"].append(save(places[0], alone, "base", str(layer), seed))
            arms["per-layer@single"].append(save(places[1], own, "b@a", f"{layer}@0-1", seed))
    for partition, folders in arms.items():
        whole = written(tmp_path, shard, folders, "v", partition)
        with monkeypatch.context() as patched:
            held = Held(patched, evaluate_correspondence)
            patched.setattr(evaluate_correspondence, "Decoders", Counted)
            patched.setattr(decoders, "HELD_BYTES", 0)
            assert written(tmp_path, shard, folders, "v", partition) == whole
        assert held.most == 1
    # One is held, a pair is compared, and one is read.
    assert 0 < Counted.most_alive <= 4
