"""The whole script on SAEs whose latents are known to mean a word, a pair of words or a factor."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from evaluate_features import Outputs, Split, main
from sae_settings_of import topk_settings
from synthetic_shards import made_shard
from tokenizers import Tokenizer, models

from clustersae.corpora.tokens import TokenFile, Vocabulary, write_tokens
from clustersae.features.coverage import COVERAGE_COLUMNS
from clustersae.features.judge.contexts import read_latents
from clustersae.features.measuring import FeatureSettings
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import save_sae

BOS, N_WORDS, N_ROWS, N_CTX = 0, 7, 60, 12
#: Dimensions of the stream: one per word (and an empty one for BOS), "1 after 2", "known to be a".
PAIR, FACTOR, D_MODEL = N_WORDS + 1, N_WORDS + 2, N_WORDS + 3
#: Latent i is dimension i on layer 0 (and 2). On layer 1 (and 3) words 3 and 4 have changed places.
SWAPPED = [0, 1, 2, 4, 3, 5, 6, 7, PAIR, FACTOR]
SPLITS = ("validation", "test")
SETTINGS = FeatureSettings(tokens=500, max_clauses=3, min_firings=5, contexts=6, context_tokens=5)


def write_split(folder: Path, split: str) -> pd.DataFrame:
    """A split of random words, its activations, and where the factor is known."""
    generator = torch.Generator().manual_seed(SPLITS.index(split))
    tokens = torch.randint(1, N_WORDS + 1, (N_ROWS, N_CTX), generator=generator)
    tokens[:, 0] = BOS
    known_from = torch.randint(1, N_CTX, (N_ROWS,), generator=generator)
    is_a = torch.arange(N_ROWS) % 3 == 0
    x = torch.zeros(N_ROWS, N_CTX, D_MODEL)
    x.scatter_(2, tokens[..., None], 1.0)
    x[:, 1:, PAIR] = ((tokens[:, 1:] == 1) & (tokens[:, :-1] == 2)).float()
    x[..., FACTOR] = (is_a[:, None] & (torch.arange(N_CTX) >= known_from[:, None])).float()
    x *= 1 + torch.rand(x.shape, generator=generator)

    row, column = (tokens != BOS).nonzero(as_tuple=True)
    order = torch.randperm(len(row), generator=generator)
    row, column = row[order], column[order]
    layers = [x[row, column][:, order] for order in (range(D_MODEL), SWAPPED) * 2]
    columns = tokens[row, column].int(), column.int(), row.int()
    made_shard(folder / f"{split}-0.safetensors", layers, columns, split=split, fingerprint="f")
    vocabulary = Vocabulary("words", N_WORDS + 1, BOS, None)
    file = TokenFile(tokens.int(), vocabulary, "source", "0" * 64)
    write_tokens(folder / f"{split}.safetensors", file)
    return pd.DataFrame(
        {"split": split, "row": np.arange(N_ROWS), "position": known_from.numpy(),
         "factor": "letter", "value": np.where(is_a, "a", "b")}
    )  # fmt: skip


def write_sae(folder: Path, layers, seed=0, name="", order=range(D_MODEL)) -> Path:
    """An SAE whose latent i is dimension order[i], with enough active latents to lose none."""
    sae = TopK(layers, D_MODEL, 3, torch.zeros(len(layers), D_MODEL), torch.ones(len(layers)))
    directions = torch.eye(D_MODEL)[list(order)]
    with torch.no_grad():
        sae.W_dec.copy_(directions)
        sae.W_enc.copy_(directions.t())
    settings = topk_settings(D_MODEL, 3, seed=seed)
    save_sae(folder, sae, settings, "base", "f", name)
    return folder


class Job(NamedTuple):
    folder: Path
    single: list[Path]
    baseline: list[Path]

    def run(self, saes=None, name="out", **more) -> Outputs:
        names = Outputs._fields
        ends = dict.fromkeys(names[:4], "parquet") | dict.fromkeys(names[4:], "csv")
        outputs = Outputs(*(self.folder / name / f"{each}.{ends[each]}" for each in names))
        arguments = {
            "saes": saes or self.single,
            "baseline": self.baseline,
            "tokenizer": self.folder / "tokenizer.json",
            "factors": self.folder / "factors.parquet",
            "variant": "base",
            "partition": "single",
            "settings": SETTINGS,
            "seed": 0,
            "where": torch.device("cpu"),
        }
        splits = {
            split: Split(
                [self.folder / f"{split}-0.safetensors"], self.folder / f"{split}.safetensors"
            )
            for split in SPLITS
        }
        main(**{**arguments, **splits, **more}, outputs=outputs)
        return outputs


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    tables = [write_split(folder, split) for split in SPLITS]
    kinds = {"split": "category", "factor": "category", "value": "category"}
    pd.concat(tables).astype(kinds).to_parquet(folder / "factors.parquet")
    words = {"<bos>": BOS, **{f"word{n}": n for n in range(1, N_WORDS + 1)}}
    Tokenizer(models.WordLevel(words, unk_token="<bos>")).save(str(folder / "tokenizer.json"))
    seeds = range(3)
    single = [write_sae(folder / f"saes/0-1/seed-{seed}", (0, 1), seed) for seed in seeds]
    baseline = [
        write_sae(
            folder / f"saes/{layer}/seed-{seed}", (layer,), seed, order=np.roll(SWAPPED, seed)
        )
        for layer in (0, 1)
        for seed in seeds
    ]
    return Job(folder, single, baseline)


@pytest.fixture(scope="module")
def outputs(job):
    return job.run()


def test_every_file_names_the_arm_and_has_all_seeds(outputs):
    expected = {
        "latents": ["group", "n_layers", "latent", "firing_rate", "entropy", "effective_layers",
                    "within_token_variance", "over_token_variance"],
        "layers": ["group", "latent", "layer", "p_layer", "firing_rate", "mean_activation"],
        "contexts": ["cluster", "latent", "layer", "rank", "activation", "sequence", "tokens",
                     "activations"],
        "rules": ["group", "latent", "layer", "tokens", "previous", "accuracy", "holds"],
        "meaning": ["group", "layer", "other_layer", "n_latents", "balanced_accuracy", "floor",
                    "ceiling"],
        "kept": ["group", "n_layers", "n_explained", "n_kept", "share_kept", "n_pairs",
                 "n_pairs_kept"],
        "sweep": ["group", "pairing", "share", "n_pairs", "n_pairs_kept"],
        "similarity": ["layer", "kind", "other_seed", "mean_max_cosine", "matched_cosine",
                       "matching", "n_latents"],
        "coverage": ["factor", "value", "n_positive", "f1", "group", "latent", "layer",
                     "threshold"],
    }  # fmt: skip
    for name, path in outputs._asdict().items():
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        assert list(frame) == ["variant", "partition", "seed", *expected[name]]
        assert set(frame["variant"]) == {"base"}
        assert set(frame["partition"]) == {"single"}
        assert set(frame["seed"]) == {0, 1, 2}


def test_latents_that_changed_their_word_lose_their_meaning(outputs):
    rows = pd.read_csv(outputs.meaning).set_index(["seed", "layer", "other_layer"]).loc[0]
    # Words and the pair are explained, the factor's latent by no word: 8 of 9 score 1.
    own = rows.loc[[(0, 0), (1, 1)]]
    assert (own["n_latents"] == N_WORDS + 2).all()
    assert (own["balanced_accuracy"] > 8 / 9).all()
    assert (own["balanced_accuracy"] == own["ceiling"]).all()
    # Two latents fall from 1 to below 0.5.
    other = rows.loc[[(0, 1), (1, 0)]]
    lost = (other["ceiling"] - other["balanced_accuracy"]) * (N_WORDS + 2)
    assert ((lost > 2 * 0.5) & (lost < 2 * 0.6)).all()
    assert (rows["floor"] < 0.65).all()
    kept = pd.read_csv(outputs.kept)
    assert kept["n_explained"].tolist() == [N_WORDS + 1] * 3
    assert kept["n_kept"].tolist() == [N_WORDS - 1] * 3
    assert kept["share_kept"].tolist() == pytest.approx([6 / 8] * 3)


def test_per_layer_saes_are_matched_across_layers_as_a_control(job, outputs):
    """Their latents lie in another order on layer 1 and each writes the dimension of its name."""
    found = job.run(job.baseline, "matched", partition="per-layer", variant="base")
    own = pd.read_csv(found.sweep)
    assert set(own["pairing"]) == {"matched"}
    assert set(own["group"]) == {"per-layer"}
    assert len(own) == 3 * 4
    # Matched by what they write, the two words that changed places lose what they meant.
    strict = own[own["share"] == 0.9]
    assert strict["n_pairs"].tolist() == [2 * (N_WORDS + 1)] * 3
    assert strict["n_pairs_kept"].tolist() == [2 * (N_WORDS - 1)] * 3
    # By index, of the one SAE of both layers, half is what `kept` asks for.
    shared, kept = pd.read_csv(outputs.sweep), pd.read_csv(outputs.kept)
    assert set(shared["pairing"]) == {"index"}
    half = shared[shared["share"] == 0.5]
    assert half["n_pairs_kept"].tolist() == kept["n_pairs_kept"].tolist()


def test_layers_that_a_partition_leaves_alone_are_no_control(job):
    """Matching is of per-layer arms: of others it would be of the few layers without company."""
    more = [
        write_sae(job.folder / f"saes/{name}/seed-{seed}", layers, seed)
        for name, layers in (("2-3", (2, 3)), ("2", (2,)), ("3", (3,)))
        for seed in range(2)
    ]
    baseline = [each for each in job.baseline if each.name != "seed-2"]
    found = job.run(baseline + more[:2], "mixed", baseline=baseline + more[2:], partition="even-3")
    assert set(pd.read_csv(found.sweep)["pairing"]) == {"index"}


def test_rules_are_told_in_words_and_how_far_each_carries(outputs):
    rules = pd.read_parquet(outputs.rules).query("seed == 0").set_index(["latent", "layer"])
    stays, swapped = rules.loc[(1, 0)], rules.loc[(3, 0)]
    assert (list(stays["tokens"]), list(stays["previous"])) == (["word1"], [None])
    assert list(stays["accuracy"]) == [1, 1]
    assert list(stays["holds"]) == [True, True]
    # Latent 3 is word 4 on layer 1.
    assert list(swapped["tokens"]) == ["word3"]
    assert list(rules.loc[(3, 1), "tokens"]) == ["word4"]
    assert list(swapped["holds"]) == [True, False]
    assert swapped["accuracy"][1] < 0.5
    pair = rules.loc[(PAIR, 0)]
    assert (list(pair["tokens"]), list(pair["previous"])) == (["word1"], ["word2"])


def test_spread_tells_what_fires_at_one_token_and_what_over_tokens(outputs):
    latents = pd.read_parquet(outputs.latents).set_index(["seed", "latent"]).loc[0]
    assert latents.loc[0, ["entropy", "within_token_variance"]].isna().all()
    live = latents.drop(index=0)
    assert live["effective_layers"].between(1.95, 2).all()
    # Words 3 and 4 are active on one layer at a token, all others on both alike.
    assert live.loc[[3, 4], "within_token_variance"].tolist() == [0, 0]
    assert live.drop(index=[3, 4])["within_token_variance"].to_numpy() == pytest.approx(0.25)
    assert live["over_token_variance"].between(0.24, 0.25).all()
    layers = pd.read_parquet(outputs.layers)
    sums = layers.groupby(["seed", "latent"])["p_layer"].sum()
    assert sums.drop(index=0, level="latent").to_numpy() == pytest.approx(1)


def test_similarity_lies_between_ceiling_and_floor(outputs):
    rows = pd.read_csv(outputs.similarity).set_index(["kind", "seed", "layer"]).sort_index()
    assert len(rows) == 3 * 3 * 2
    # All SAEs have the same live directions in another order.
    for kind in ("arm", "ceiling"):
        assert rows.loc[kind, "mean_max_cosine"].to_numpy() == pytest.approx(1)
        assert rows.loc[kind, "matched_cosine"].to_numpy() == pytest.approx(1)
    assert (rows.loc["floor", "matched_cosine"] < 0.8).all()
    assert (rows["n_latents"] == N_WORDS + 2).all()
    assert rows.loc["arm", "other_seed"].tolist() == [1, 1, 2, 2, 0, 0]


def test_the_same_tokens_decide_what_is_live_in_an_arm_and_in_the_baseline(job, monkeypatch):
    for name in ("baseline", "measuring"):
        monkeypatch.setattr(f"clustersae.features.{name}.LIVE_STEP", 200)
    rows = pd.read_csv(job.run(name="few").similarity)
    counts = rows.pivot(index=["seed", "layer"], columns="kind", values="n_latents")
    # Three tokens, of two or three latents each.
    assert (counts["arm"] < N_WORDS + 2).all()
    assert (counts["arm"] == counts["ceiling"]).all()
    assert (counts["arm"] == counts["floor"]).all()


def test_the_latent_of_the_factor_covers_it(outputs):
    rows = pd.read_csv(outputs.coverage).set_index(["seed", "value"])
    assert rows["factor"].eq("letter").all()
    best = rows.loc[(0, "a")]
    assert (best["f1"], best["latent"], best["layer"], best["threshold"]) == (1, FACTOR, 0, 0)
    assert best["group"] == "0-1"
    # No latent stands for the other letter.
    assert (rows.xs("b", level="value")["f1"] < 0.6).all()


def test_a_judge_finds_what_it_needs(outputs):
    for latents in read_latents(outputs.contexts, 50, 4, seed=0):
        words = {latent.label["latent"]: latent for latent in latents}
        assert {3, 4, PAIR} <= set(words)
        for context in words[3].held_out[1]:
            assert "word4" in context.tokens
        for context in words[PAIR].shown:
            assert "word2 word1" in " ".join(context.tokens)
        assert all(latent.counterexamples[latent.layer] for latent in latents)


def test_the_same_bits_come_out_again(job, outputs):
    again = job.run(name="again")
    for first, second in zip(outputs, again):
        assert first.read_bytes() == second.read_bytes()
    other = job.run(name="other", seed=1)
    assert (
        pd.read_csv(other.similarity)["mean_max_cosine"]
        .ne(pd.read_csv(outputs.similarity)["mean_max_cosine"])
        .any()
    )


def test_specialised_saes_of_one_root_are_one_group(job, outputs):
    saes = [
        write_sae(job.folder / f"special/{layer}", (layer,), 0, f"{layer}@0-1") for layer in (0, 1)
    ]
    found = job.run(saes, "special", partition="per-layer@single")
    kept, shared = pd.read_csv(found.kept), pd.read_csv(outputs.kept)
    assert kept["group"].tolist() == ["@0-1"]
    assert kept.loc[0, "n_kept"] == shared.loc[0, "n_kept"]
    contexts = pd.read_parquet(found.contexts)
    names = contexts.groupby("layer")["cluster"].unique().map(list)
    assert names.to_dict() == {0: ["0@0-1"], 1: ["1@0-1"]}
    # The same weights, so the same activations as those of the shared SAE.
    latents = [pd.read_parquet(each.latents).query("seed == 0") for each in (found, outputs)]
    numbers = latents[0].columns.drop(["partition", "group"])
    pd.testing.assert_frame_equal(*(frame[numbers] for frame in latents))


def test_a_lone_seed_is_compared_with_itself(job):
    own = [folder for folder in job.baseline if folder.name == "seed-0"]
    found = job.run(own, "lone", baseline=own, partition="per-layer", factors=None)
    similarity = pd.read_csv(found.similarity)
    assert (similarity["other_seed"] == 0).all()
    of_kind = similarity.groupby("kind")["mean_max_cosine"]
    assert of_kind.min()[["arm", "ceiling"]].tolist() == pytest.approx([1, 1])
    kept = pd.read_csv(found.kept)
    assert kept["n_layers"].tolist() == [1, 1]
    assert kept["n_kept"].isna().all()
    # Not toy English: a header alone.
    coverage = pd.read_csv(found.coverage)
    assert coverage.empty
    assert list(coverage) == ["variant", "partition", "seed", *COVERAGE_COLUMNS]


def test_a_seed_without_its_baseline_is_an_error(job):
    some = [folder for folder in job.baseline if folder.name != "seed-2"]
    with pytest.raises(InputError, match="no per-layer SAE of layer 0 with seed 2"):
        job.run(name="missing", baseline=some)
    assert not (job.folder / "missing" / "contexts.parquet").exists()
