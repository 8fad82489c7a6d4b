import numpy as np
import pandas as pd
import pytest
from synthetic_results import CACHING_SECONDS, Experiment, write_tables

from clustersae.cost.table import bills_of, cost_table
from clustersae.experiment.arms import PER_LAYER, Arm
from clustersae.presentation.arms import check_evaluated
from clustersae.presentation.tables import DENSITY, RECONSTRUCTION, read_file, read_files
from clustersae.quality import summary
from clustersae.quality.choice import marked
from clustersae.quality.pairs import pairs_of
from clustersae.quality.series import density_table, training_table
from clustersae.runtime.errors import InputError

SPREAD = 0.05  # each layer of an n-layer cluster loses SPREAD (n - 1)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    # K = 2: 0-2, 3-5 lose 10 % each; K = 3: 0-1, 2-3, 4-5 lose 5 %; K = 1 loses 25 %.
    return Experiment(tmp_path_factory.mktemp("six"), counts=(2, 3, 4), spread=SPREAD)


@pytest.fixture(scope="module")
def written(experiment):
    return write_tables(experiment)


@pytest.fixture(scope="module")
def arms(written):
    return read_file(written["arms"]).set_index("arm")


def test_every_arm_has_a_row_with_what_it_spends(arms, experiment):
    assert list(arms.index) == [arm.name for arm in experiment.arms]
    partitions = [name for name in experiment.partitions if name != "per-layer"]
    variants = [f"complete-{count} (equal-exposure)" for count in (2, 3, 4)]
    equal = [
        f"per-layer ({kind}-{share})"
        for kind in ("tokens", "narrower")
        for share in ("1of3", "1of2", "2of3")
    ]
    assert sorted(arms.index) == sorted(["per-layer", *partitions, *variants, *equal])
    assert arms.loc["per-layer (narrower-1of2)", "count"] == 6
    assert arms.loc["per-layer (narrower-1of2)", "matched_count"] == 3
    assert arms.loc["complete-3", "matched_count"] == 3
    assert arms.loc["complete-3 (equal-exposure)", "matched_count"] == 6
    assert set(arms["n_layers"]) == {6}
    assert set(arms["n_seeds"]) == {3}


def test_excess_is_what_was_put_in(arms):
    assert arms.loc["single", "excess_fvu"] == pytest.approx(5 * SPREAD)
    assert arms.loc["complete-2", "excess_fvu"] == pytest.approx(2 * SPREAD)
    assert arms.loc["complete-3", "excess_fvu_worst"] == pytest.approx(SPREAD)
    # The same factor on every layer and seed: pairing leaves no width at all.
    assert arms.loc["complete-3", "excess_fvu_low"] == pytest.approx(SPREAD)
    assert arms.loc["complete-3", "excess_fvu_high"] == pytest.approx(SPREAD)
    # FVU itself differs by 1 % from seed to seed, and layers are no sample.
    half = 4.302653 * 0.01 / 1.01 / 3**0.5
    assert arms.loc["complete-3", "fvu_high"] == pytest.approx(
        (1 + half) * arms.loc["complete-3", "fvu"]
    )
    assert arms.loc["per-layer (tokens-1of3)", "excess_fvu"] == pytest.approx(0.03)
    # An equal-exposure arm of K = 4 borrows its two singletons from the base SAEs.
    factors = [1.05 * 0.99, 1.05 * 0.99, 1, 1, 1.05 * 0.99, 1.05 * 0.99]
    clusters = ["0-1", "2", "3", "4-5"]
    assert arms.loc["complete-4 (equal-exposure)", "count"] == len(clusters)
    assert arms.loc["complete-4 (equal-exposure)", "excess_fvu"] == pytest.approx(
        np.prod(factors) ** (1 / 6) - 1
    )


def test_absolute_fvu_and_splice_columns_are_averages(arms, written):
    own = np.array([0.05 + 0.05 * (layer + 1) for layer in range(6)]) * 1.01
    assert arms.loc["per-layer", "fvu"] == pytest.approx(own.mean())
    assert arms.loc["per-layer", "fvu_worst"] == pytest.approx(own.max())
    assert arms.loc["per-layer", "worst_layer"] == 5
    assert arms.loc["per-layer", "delta_ce"] == pytest.approx(0.3 * own.mean())
    assert arms.loc["complete-2", "delta_ce_all"] == pytest.approx(0.4 + 0.02 * 4 + 0.01)
    # The seeds move both arms alike, so the paired difference has no width.
    ends = [f"excess_ce_all{end}" for end in ("", "_low", "_high")]
    assert list(arms.loc["complete-2", ends]) == pytest.approx([0.08] * 3)
    half = 4.302653 * 0.01 / 3**0.5
    assert arms.loc["complete-2", "delta_ce_all_high"] == pytest.approx(0.49 + half)
    assert arms.loc["complete-2", "delta_ce_all_bounded"] == pytest.approx(0.3 + 0.02 * 4 + 0.02)
    assert arms.loc["complete-2", "delta_ce_all_bounded_high"] == pytest.approx(0.4 + 2 * half)
    ends = [f"excess_ce_all_bounded{end}" for end in ("", "_low", "_high")]
    assert list(arms.loc["complete-2", ends]) == pytest.approx([0.08] * 3)
    assert np.isnan(arms.loc["per-layer (narrower-1of3)", "delta_ce_all"])
    stream = read_file(written["stream"])
    for name, factor in (("fvu", 1), ("fvu_all_tokens", 0.5), ("fvu_standardised", 1.5)):
        assert stream[f"per_layer_{name}"].tolist() == pytest.approx(factor * own)
    quality = read_file(written["layer_quality"])
    assert quality.loc[quality["split"] == "validation", "ce_spliced"].isna().all()
    assert quality.loc[quality["split"] == "test", "ce_spliced"].notna().all()
    assert len(quality) == len(arms) * 6 * 3 * 2


def test_cost_is_caching_once_plus_the_arms_own_saes(written):
    cost = read_file(written["cost"]).set_index("arm")
    # An SAE takes 100 s, 101 s or 102 s by seed.
    base = CACHING_SECONDS + 6 * 101
    row = cost.loc["complete-3"]
    assert row["total_seconds"] == pytest.approx(CACHING_SECONDS + 3 * 101)
    assert row["predicted_seconds"] == pytest.approx(row["total_seconds"])
    # A geometric mean over seeds, whose ratios are all but the same.
    assert row["relative"] == pytest.approx((CACHING_SECONDS + 303) / base, rel=1e-5)
    half = 4.302653 * 3 / 3**0.5
    assert row["total_seconds_low"] == pytest.approx(CACHING_SECONDS + 303 - half)
    assert row["total_seconds_high"] == pytest.approx(CACHING_SECONDS + 303 + half)
    assert row["relative_flops"] == pytest.approx((2 + 3 * 5) / (2 + 6 * 5))
    assert cost.loc["per-layer", "relative"] == 1
    for arm in ("per-layer (tokens-1of2)", "per-layer (narrower-1of2)"):
        assert cost.loc[arm, "total_seconds"] == pytest.approx(row["total_seconds"])
        assert cost.loc[arm, "predicted_seconds"] == pytest.approx(row["total_seconds"])
    exposed = cost.loc["complete-3 (equal-exposure)"]
    assert exposed["total_seconds"] == pytest.approx(base)
    assert exposed["predicted_seconds"] == pytest.approx(base)
    assert cost.loc["complete-4 (equal-exposure)", "total_seconds"] == pytest.approx(base)


def test_active_latents_are_counted_per_token_and_per_token_and_layer(tmp_path):
    """By hand: six layers, every code has 32 active latents; a crosscoder has one for all six."""
    rivals = Experiment(tmp_path, counts=(3,), controls=False, rivals=[0.5])
    found = read_file(write_tables(rivals)["arms"]).set_index("arm")
    codes = dict.fromkeys(found.index, 6) | {"single (crosscoder-1of2)": 1}
    assert set(found["l0"]) == {32}
    assert found["l0_token"].to_dict() == {arm: 32 * n for arm, n in codes.items()}
    assert found["l0_token_layer"].to_numpy() == pytest.approx(
        [32 * codes[arm] / 6 for arm in found.index]
    )


def test_arms_have_their_bill_and_their_live_latents_beside_their_quality(arms, written):
    cost = read_file(written["cost"]).set_index("arm")
    pairs = {"cost_seconds": "total_seconds", "cost_flops": "flops_total"}
    pairs |= {"cost_relative_flops": "relative_flops", "peak_memory_mb": "peak_memory_mb"}
    for own, other in pairs.items():
        assert arms[own].to_list() == cost[other].to_list()
    assert arms["live_latents"].to_list() == [980] * len(arms)
    # Per-layer SAEs at a third, a half and two thirds: what costs as much as one of these, and is
    # no other length, loses 5 % for which they lose 3 %.
    assert arms.loc["complete-3", "excess_fvu_equal_flops"] == pytest.approx(1.05 / 1.03 - 1)
    assert arms.loc["complete-3", "budget_equal_flops"] == pytest.approx(0.5)
    assert np.isnan(arms.loc["single", "excess_fvu_equal_flops"])


def test_a_layer_without_a_live_latent_counts_with_none(tmp_path):
    """By hand: five layers of 980 live latents, and one whose latents are all dead."""
    own = Experiment(tmp_path, counts=(3,), controls=False)
    (path,) = (path for path in own.paths["density"] if path.match("density/base/0-5.csv"))
    density = pd.read_csv(path)
    density[(density["layer"] != 2) | (density["kind"] == "dead")].to_csv(path, index=False)
    found = read_file(write_tables(own)["arms"]).set_index("arm")["live_latents"]
    assert found["single"] == pytest.approx(980 * 5 / 6)
    assert found["complete-3"] == 980


def test_comparisons_are_between_arms_of_one_k(written):
    rows = read_file(written["comparisons"]).set_index(["arm", "against"])
    narrower = rows.loc[("complete-3", "per-layer (narrower-1of2)")]
    assert narrower["excess_fvu"] == pytest.approx(1.05 / 1.06 - 1)
    assert narrower["cost_ratio"] == pytest.approx(1)
    fewer = rows.loc[("complete-3", "per-layer (tokens-1of2)")]
    assert fewer["excess_fvu"] == pytest.approx(1.05 / 1.03 - 1)
    assert rows.loc[("complete-3", "complete-3 (equal-exposure)"), "cost_ratio"] < 0.6
    assert ("complete-3", "per-layer (narrower-1of3)") not in rows.index
    exposed = rows.loc[("complete-3", "complete-3 (equal-exposure)")]
    assert exposed["flops_ratio"] == pytest.approx((2 + 3 * 5) / (2 + 6 * 5))


def test_cross_entropy_with_all_layers_is_paired_by_seed():
    """Seeds 0, 1 and 2 of an arm beside seeds 1, 2 and 3 of the per-layer SAEs."""
    rows = [
        {"variant": "base", "partition": name, "seed": first + i, "ce_clean": 1.0,
         "ce_spliced": ce + i / 10, "delta_ce": ce + i / 10 - 1, "ce_spliced_bounded": 1.5,
         "ce_recovered_zero": 0.9, "ce_recovered_mean": 0.8, "kl": 0.1}
        for name, first, ce in (("single", 0, 3.0), ("per-layer", 1, 2.0))
        for i in range(3)
    ]  # fmt: skip
    single = Arm("single", "base", "single", 1, 1.0, "main", (("base", "0-1"),))
    found = summary._all_layers(pd.DataFrame(rows), single)
    # 3.1 − 2 and 3.2 − 2.1.
    ends = [f"excess_ce_all{end}" for end in ("", "_low", "_high")]
    assert [found[name] for name in ends] == pytest.approx([1.1] * 3)
    assert (found["delta_ce_all"], found["n_seeds_all"]) == (pytest.approx(2.1), 3)
    assert (found["delta_ce_all_bounded"], found["excess_ce_all_bounded"]) == (0.5, 0)
    assert np.isnan(summary._all_layers(pd.DataFrame(rows[3:]), single)["excess_ce_all"])


def test_words_go_by_the_margins(arms, written):
    """Seeds do the same to all arms, so that everything is told: margins are 12 %."""
    words = arms[["verdict", "verdict_worst"]].apply(tuple, axis=1)
    assert words["single"] == ("worse", "worse")
    assert words["complete-2"] == ("equivalent", "equivalent")
    assert words["per-layer"] == ("equivalent", "equivalent")
    rows = read_file(written["comparisons"]).set_index(["arm", "against"])
    assert rows.loc[("complete-3", "per-layer (narrower-1of2)"), "verdict"] == "equivalent"
    assert set(rows["worst_excess_layer"]) <= set(range(6))


def test_every_layer_has_an_excess_and_what_holm_leaves_of_it(written):
    rows = read_file(written["layers"]).set_index(["arm", "layer"])
    assert "per-layer" not in rows.index.get_level_values(0)
    own = rows.loc["complete-4"]
    # Layers 2 and 3 have SAEs of their own; the others lose 5 % for every seed.
    assert own["excess_fvu"].tolist() == pytest.approx([0.05, 0.05, 0, 0, 0.05, 0.05])
    assert own["excess_fvu_low"].tolist() == pytest.approx([0.05, 0.05, 0, 0, 0.05, 0.05])
    assert own.loc[[2, 3], ["p", "p_holm"]].to_numpy().tolist() == [[1, 1], [1, 1]]
    assert (own.loc[[0, 1, 4, 5], "p_holm"] < 1e-6).all()
    assert set(rows["n_seeds"]) == {3}


@pytest.mark.parametrize(
    ("margin", "chosen"),
    # At the training of two SAEs, per-layer ones lose 3 % and two shared ones 10 %.
    [(0.30, "single"), (0.12, "per-layer (tokens-1of3)"), (0.01, "per-layer")],
)
def test_the_cheapest_arm_within_the_margins_is_marked(arms, written, margin, chosen):
    margins = {"mean": margin, "worst": margin}
    pair_of = pairs_of(read_file(written["layer_quality"]))

    def words(name, other):
        return pair_of(name, PER_LAYER).words_beside(pair_of(other, PER_LAYER), margins)

    marks = ["within_margins", "dominated", "dominated_by", "chosen"]
    found = marked(arms.drop(columns=marks).reset_index(), margins, words).set_index("arm")
    assert list(found.index[found["chosen"]]) == [chosen]
    assert found.loc["per-layer", ["within_margins", "dominated"]].tolist() == [True, False]


def test_training_and_density_tables_hold_every_sae(experiment, written):
    training = read_file(written["training"])
    assert len(training.groupby(["variant", "cluster", "seed"])) == 3 * len(experiment.saes)
    assert {"0-2", "3"} <= set(training["cluster"])
    density = read_file(written["latent_density"])
    one = density[(density["cluster"] == "0-2") & (density["layer"] == 1) & (density["seed"] == 0)]
    one = one[one["variant"] == "base"]
    assert one["n_latents"].sum() == 980 + 21
    assert one.loc[one["kind"] == "dead", "n_latents"].item() == 21


def test_bad_files_are_named(experiment, tmp_path):
    rows = pd.read_csv(experiment.paths["reconstruction"][0])
    rows.drop(columns="fvu").to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(InputError, match=r"short.csv lacks the columns fvu"):
        read_files([tmp_path / "short.csv"], RECONSTRUCTION)
    with pytest.raises(InputError, match="same measurement"):
        read_files([experiment.paths["reconstruction"][0]] * 2, RECONSTRUCTION)
    with pytest.raises(InputError, match=r"absent\.csv does not exist"):
        read_files([tmp_path / "absent.csv"], RECONSTRUCTION)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty.csv is not a table"):
        read_files([tmp_path / "empty.csv"], DENSITY)
    with pytest.raises(InputError, match="not the history of an SAE"):
        training_table([tmp_path / "history.csv"])
    density = pd.read_csv(experiment.paths["density"][0])
    density.assign(kind="asleep").to_csv(tmp_path / "density.csv", index=False)
    with pytest.raises(InputError, match="live or dead, not 'asleep'"):
        density_table([tmp_path / "density.csv"])


def test_missing_saes_are_named(experiment):
    rows = read_files(experiment.paths["reconstruction"], RECONSTRUCTION)
    check_evaluated(experiment.arms, rows)
    lacking = rows[(rows["variant"] != "base") | (rows["cluster"] != "2-3")]
    with pytest.raises(InputError, match=r"complete-3 needs the SAE 2-3 \(variant base\)"):
        check_evaluated(experiment.arms, lacking)
    check_evaluated([arm for arm in experiment.arms if arm.name == "complete-2"], lacking)


def test_a_layer_that_one_arm_lacks_is_an_error_not_an_average(experiment, tmp_path):
    files = {
        path.stem: path for path in experiment.paths["reconstruction"] if path.parent.name == "base"
    }
    damaged = pd.read_csv(files["4-5"])
    damaged[damaged["layer"] != 5].to_csv(tmp_path / "4-5.csv", index=False)
    paths = experiment.paths["reconstruction"]
    experiment.paths["reconstruction"] = [
        tmp_path / "4-5.csv" if path == files["4-5"] else path for path in paths
    ]
    try:
        with pytest.raises(InputError, match="layer"):
            write_tables(experiment)
    finally:
        experiment.paths["reconstruction"] = paths


PER_LAYER_SAES = (("base", "0"), ("base", "1"))


def test_pilots_are_paid_by_the_arm_that_they_have_found_alone():
    arms = [
        Arm("per-layer", "base", "per-layer", 2, 2.0, "baseline", PER_LAYER_SAES),
        Arm("single", "base", "single", 1, 1.0, "main", (("base", "0-1"),)),
        Arm("even-1", "base", "even", 1, 1.0, "control", (("base", "0-1"),)),
    ]
    rows = [{"kind": "caching", "seconds": 10.0, "n_tokens": 5, "tokens_reached": None}]
    for seed in (0, 1):
        for cluster in ("0", "1", "0-1"):
            place = {"variant": "base", "cluster": cluster, "seed": seed}
            place |= {"n_tokens": None, "tokens_reached": 5}
            rows.append({"kind": "sae", **place, "seconds": 100.0})
            pilot = {**place, "variant": "tokens-1of10"}
            rows.append({"kind": "pilot", **pilot, "seconds": 7.0})
    same = {"job_seconds": 0.0, "tuning_seconds": 0.0, "tuning_flops": 0.0}
    same |= {"peak_memory_mb": 1.0, "peak_gpu_memory_mb": 1.0, "activations": 1.0}
    frame = pd.DataFrame([{**row, **same, "flops": row["seconds"]} for row in rows])
    cost = cost_table(bills_of(arms, frame, found_by_pilots="single")).set_index("arm")
    assert cost["total_seconds"].to_dict() == {"per-layer": 210, "single": 131, "even-1": 110}
    assert cost["pilot_seconds"].to_dict() == {"per-layer": 0, "single": 21, "even-1": 0}
    assert cost.loc["single", "relative"] == pytest.approx(131 / 210)
    assert cost.loc["single", "training_seconds"] == 100
