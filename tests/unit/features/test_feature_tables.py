"""The tables of features, from files whose means are known."""

import numpy as np
import pandas as pd
import pytest
from synthetic_features import FACTORS, Features, write_feature_tables
from synthetic_results import Experiment

from clustersae.features.table import (
    COMPARED,
    COVERAGE,
    JUDGE,
    KEPT,
    MEANING,
    MEASURES,
    SIMILARITY,
    Measured,
    coverage_table,
    features_table,
    meaning_table,
)
from clustersae.presentation.tables import read_file, read_files
from clustersae.runtime.errors import InputError
from clustersae.statistics.intervals import mean_of_layers
from clustersae.statistics.spread import spread_by_group

SMALL = {"n_layers": 4, "counts": (2,), "specialise": (1,), "controls": False}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return Features(Experiment(tmp_path_factory.mktemp("features"), **SMALL), judged=True)


@pytest.fixture(scope="module")
def tables(features):
    return {name: read_file(path) for name, path in write_feature_tables(features).items()}


def test_the_sweep_has_the_arms_whose_latents_serve_several_layers(tables, features):
    sweep, kept = tables["feature_sweep"], tables["features"].set_index("arm")
    assert set(sweep["arm"]) == set(kept.index[kept["share_pairs_kept"].notna()])
    assert list(sweep["share_pairs_kept"]) == pytest.approx(
        list(kept.loc[sweep["arm"], "share_pairs_kept"])
    )


@pytest.fixture(scope="module")
def by_arm(tables):
    return tables["features"].set_index("arm")


@pytest.fixture(scope="module")
def specialised(features):
    return next(arm.name for arm in features.experiment.arms if arm.role == "specialised")


@pytest.fixture(scope="module")
def measured(features):
    paths = features.paths
    return Measured(
        spread_by_group(paths["latents"], paths["layers"]),
        read_files(paths["meaning"], MEANING).astype({"group": str}),
        read_files(paths["kept"], KEPT).astype({"group": str}),
        *(
            read_files(paths[name], format)
            for name, format in zip(
                ("similarity", "coverage", "judge"), (SIMILARITY, COVERAGE, JUDGE)
            )
        ),
    )


def of_arm(frame, partition, **where):
    found = (frame["partition"] == partition) & (frame["variant"] == "base")
    for name, value in where.items():
        found &= frame[name] == value
    return found


def test_rules_on_their_own_layer_on_others_and_by_chance(by_arm, specialised):
    # Layers 0 to 3 and seeds 0 to 2: on average 1.5 and 1; four layers in the group.
    own = 0.9 - 0.005 - 0.1 * (1.5 + 3) / 4
    # From 0 the others are 1, 2 and 3 away, from 1 they are 1, 1 and 2: on average 5/3.
    lost = 0.2 * 5 / 3 / 4
    single = by_arm.loc["single"]
    assert single["meaning_own"] == pytest.approx(own)
    assert single["meaning_other"] == pytest.approx(own - lost)
    # Latents that fire on both layers follow better rules, and only these can lose.
    assert single["meaning_ceiling"] == pytest.approx(own + 0.01)
    assert single["meaning_lost"] == pytest.approx(lost + 0.01)
    # Layers differ in it, and seeds do not.
    assert single["meaning_lost_low"] == pytest.approx(single["meaning_lost_high"])
    assert single["meaning_floor"] == pytest.approx(0.5)
    assert by_arm["meaning_lost"]["complete-2"] == pytest.approx(0.2 / 4 + 0.01)
    assert by_arm["meaning_lost"][specialised] == pytest.approx(lost + 0.02 + 0.01)
    assert by_arm["meaning_own"]["per-layer"] == pytest.approx(0.9 - 0.005 - 0.1 * 1.5 / 4)
    assert single["meaning_own_vs_baseline"] == pytest.approx(-0.1 * 3 / 4)


def test_latents_of_all_seeds_count_alike_in_the_share_that_is_kept(by_arm, specialised):
    single = by_arm.loc["single"]
    assert single["share_kept"] == pytest.approx(3 * 7 / (20 + 21 + 22))
    # Residuals of 7, 7, 7 of 20, 21, 22 are 1/3, 0, −1/3, over 21 their standard deviation is
    # 1/63; Student's t of two degrees of freedom is 4.302653 at 97.5 %.
    half = 4.302653 / 63 / 3**0.5
    assert single["share_kept_low"] == pytest.approx(1 / 3 - half)
    assert single["share_kept_high"] == pytest.approx(1 / 3 + half)
    assert by_arm["share_kept"][specialised] == pytest.approx(3 * 5 / 63)
    assert (single["n_explained"], single["n_kept"]) == (21, 7)
    # Two groups of two layers.
    assert by_arm.loc["complete-2", ["n_explained", "n_kept"]].tolist() == [42, 22]


def test_pairs_of_a_rule_and_another_layer_count_alike(by_arm, specialised, tables):
    single = by_arm.loc["single"]
    # Twelve pairs of layers; 11 of 20, 21 and 22 rules hold.
    assert (single["n_pairs"], single["n_pairs_kept"]) == (21 * 12, 11 * 12)
    assert single["share_pairs_kept"] == pytest.approx(33 / 63)
    half = 4.302653 * 11 / 7 / 63 / 3**0.5
    assert single["share_pairs_kept_low"] == pytest.approx(33 / 63 - half)
    assert by_arm["share_pairs_kept"][specialised] == pytest.approx(27 / 63)
    assert by_arm.loc["complete-2", ["n_pairs", "n_pairs_kept"]].tolist() == [84, 60]
    rows = tables["feature_meaning"]
    rows = rows[rows["arm"] == "single"]
    assert rows["share_pairs_kept"].tolist() == pytest.approx([11 / 21] * 16)


def test_spread_is_of_live_latents(by_arm, specialised):
    for name in ("single", specialised):
        row = by_arm.loc[name]
        assert (row["n_latents"], row["n_live"]) == (40, 36)
        # 20 live latents are spread over four layers, 16 are at home on one.
        assert row["effective_layers"] == pytest.approx((20 * 4 + 16) / 36)
        assert row["effective_layers_share"] == pytest.approx((20 + 16 / 4) / 36)
        assert row["home_share"] == pytest.approx(16 / 36)
        assert row["over_token_variance"] == pytest.approx(20 / 36 * 15 / 12)
        assert row["within_token_variance"] == pytest.approx(20 / 36 * 15 / 48)
        assert row["entropy"] == pytest.approx(20 / 36 * np.log(4))
        assert row["layers_served"] == 4
    alone = by_arm.loc["per-layer"]
    assert (alone["n_latents"], alone["n_live"]) == (160, 144)
    assert (alone["effective_layers"], alone["layers_served"]) == (1, 1)


def test_an_arm_of_single_layers_has_no_other_layers(by_arm):
    names = (
        "meaning_other",
        "meaning_lost",
        "share_kept",
        "share_pairs_kept",
        "meaning_ceiling",
        "home_share",
        "effective_layers_share",
    )
    for name in (*names, "over_token_variance", "detection_other"):
        assert np.isnan(by_arm[name]["per-layer"]), name
        assert np.isnan(by_arm[f"{name}_low"]["per-layer (tokens-1of2)"]), name
    assert by_arm["n_explained"]["per-layer"] == 0
    assert by_arm["meaning_other_n_layers"].to_dict()["per-layer"] == 0


def test_groups_of_one_layer_do_not_water_down_what_is_about_sharing(tmp_path):
    experiment = Experiment(tmp_path, n_layers=3, counts=(2,), controls=False, variants=False)
    paths = write_feature_tables(Features(experiment))
    row = read_file(paths["features"]).set_index("arm").loc["complete-2"]
    assert sorted(experiment.partitions["complete-2"]["clusters"]) == ["0-1", "2"]
    # A mean over layers 0 and 1, while rules on their own layer are asked of all.
    assert row["meaning_other_n_layers"] == 2
    assert row["meaning_own_n_layers"] == 3
    assert row["meaning_lost"] == pytest.approx(0.2 / 3 + 0.01)
    assert row["share_kept"] == pytest.approx(3 * 11 / 63)
    assert row["home_share"] == pytest.approx(16 / 36)
    # All latents: 36 of two layers and 36 of one.
    assert row["effective_layers"] == pytest.approx(((20 * 2 + 16) + 36) / 72)


def test_similarity_stands_between_two_seeds_and_chance(by_arm, specialised):
    ceiling = 0.8 - 0.1 * 1.5 / 4 - 0.01
    for name, lost in {"per-layer": 0, "single": 0.3 * 3 / 4, "complete-2": 0.3 / 4}.items():
        row = by_arm.loc[name]
        assert row["similarity"] == pytest.approx(ceiling - lost)
        assert row["similarity_ceiling"] == pytest.approx(ceiling)
        assert row["similarity_floor"] == pytest.approx(0.2)
        for end in ("", "_ceiling", "_floor"):
            assert row[f"matched{end}"] == pytest.approx(row[f"similarity{end}"] - 0.1)
    single = by_arm.loc["single"]
    # What layers and seeds do is the same in both arms, and cancels.
    ends = ["similarity_vs_baseline" + end for end in ("", "_low", "_high")]
    assert single[ends].tolist() == pytest.approx([-0.225] * 3)
    assert single["similarity_high"] - single["similarity_low"] > 0.01
    assert single["matching"] == "hungarian"


def test_values_of_factors_are_no_sample(measured, by_arm):
    by_value = [
        measured.coverage[of_arm(measured.coverage, name)]
        .pivot(index=["factor", "value"], columns="seed", values="f1")
        .to_numpy()
        for name in ("single", "per-layer")
    ]
    for name, values in (("", by_value[0]), ("_vs_baseline", by_value[0] - by_value[1])):
        found = by_arm.loc["single", [f"coverage{name}{end}" for end in ("", "_low", "_high")]]
        assert found.tolist() == pytest.approx(mean_of_layers(values).interval(), abs=1e-7)


def test_coverage_is_a_mean_over_values_and_paired_by_seed(tables, by_arm, specialised):
    # Ten values: two of number, two of tense, six of subject, which loses twice.
    full = 0.9 - 0.02 * (0 + 1 + 0 + 1 + 15) / 10 - 0.01
    lost = 0.2 * 3 / 4
    assert by_arm["n_values"]["single"] == 10
    assert by_arm["coverage"]["per-layer"] == pytest.approx(full)
    assert by_arm["coverage_vs_baseline"]["single"] == pytest.approx(-lost * (2 + 6 * 2) / 10)
    factors = tables["feature_coverage"].set_index(["arm", "factor"])
    assert len(factors) == len(by_arm) * len(FACTORS)
    single = factors.loc["single"]
    assert single["f1_vs_baseline"].to_dict() == pytest.approx(
        {"number": -lost, "tense": 0, "subject": -2 * lost}
    )
    assert single["n_values"].to_dict() == FACTORS
    assert single["n_positive"]["subject"] == pytest.approx(102.5)
    assert single["f1"]["subject"] == pytest.approx(0.9 - 0.05 - 0.01 - 2 * lost)
    # Over seeds 0 to 2, which are 0.01 apart; differences are alike in all.
    width = single["f1_high"]["tense"] - single["f1_low"]["tense"]
    assert width == pytest.approx(2 * 4.302653 * 0.01 / 3**0.5)
    assert single["f1_vs_baseline_p"].round(6).to_dict() == {"number": 0, "tense": 1, "subject": 0}
    assert factors.loc["per-layer"].filter(like="vs_baseline").isna().all(axis=None)


def test_a_judge_is_heard_where_it_answered(by_arm, tmp_path):
    single = by_arm.loc["single"]
    assert single["n_judged"] == 2
    assert single["detection_own"] == pytest.approx(0.7)
    assert single["detection_other"] == pytest.approx(0.65)
    assert single["fuzzing_other"] == pytest.approx(0.55)
    assert single["fuzzing_own_vs_baseline"] == pytest.approx(-0.1 * 3 / 4)
    silent = Features(Experiment(tmp_path, **SMALL))
    rows = read_file(write_feature_tables(silent)["features"])
    assert rows.filter(regex="detection|fuzzing").isna().all(axis=None)
    assert set(rows["n_judged"]) == {0}


def test_the_ceiling_of_a_judge_is_of_the_latents_with_passages_on_other_layers(measured, features):
    judge = measured.judge.copy()
    single = of_arm(judge, "single", kind="detection")
    at_home = single & (judge["layer"] == judge["explained_on"])
    first = judge["latent"] == judge.loc[single, "latent"].min()
    judge.loc[at_home & first, "balanced_accuracy"] = 0.9
    judge.loc[at_home & ~first, "balanced_accuracy"] = 0.5 + 0.1 * judge["seed"]
    judge.loc[single & ~at_home, "balanced_accuracy"] = 0.3 + 0.1 * judge["seed"]
    alone = first | (judge["seed"] == 0)  # fires at home alone
    judge = judge[~(single & ~at_home & alone)]

    def found(judge):
        table = features_table(features.experiment.arms, measured._replace(judge=judge))
        row = table.set_index("arm").loc["single"]
        return [row[f"detection_{name}"] for name in ("own", "ceiling", "other")]

    assert found(judge) == pytest.approx([0.75, 0.65, 0.45])
    unanswered = at_home & ~first & (judge["seed"] == 1)
    answered = judge.assign(balanced_accuracy=judge["balanced_accuracy"].mask(unanswered))
    assert found(answered)[1:] == pytest.approx([0.7, 0.5])


def test_latents_without_an_answer_of_the_judge_are_not_counted(measured, features):
    judge = measured.judge.copy()
    single = of_arm(judge, "single")
    lost = single & (judge["latent"] == judge.loc[single, "latent"].min()) & (judge["seed"] == 0)
    judge.loc[lost, "balanced_accuracy"] = np.nan
    table = features_table(features.experiment.arms, measured._replace(judge=judge))
    n_judged = table.set_index("arm")["n_judged"]
    assert n_judged["single"] == pytest.approx(2 - 1 / 3)
    judge.loc[single, "balanced_accuracy"] = np.nan
    table = features_table(features.experiment.arms, measured._replace(judge=judge))
    assert table.set_index("arm")["n_judged"]["single"] == 0


def test_every_pair_of_layers_and_every_group_stands_in_a_table(tables, features, specialised):
    table = tables["feature_meaning"]
    assert not table.duplicated(["arm", "group", "layer", "other_layer"]).any()
    sizes = table.groupby("arm").size()
    assert (sizes["per-layer"], sizes["single"], sizes["complete-2"]) == (4, 16, 8)
    assert set(table.loc[table["arm"] == "per-layer", "group"]) == {"0", "1", "2", "3"}
    assert set(table.loc[table["arm"] == specialised, "group"]) == {"@0-3"}
    row = table[(table["arm"] == "single") & (table["layer"] == 3) & (table["other_layer"] == 1)]
    row = row.iloc[0]
    assert row["balanced_accuracy"] == pytest.approx(0.9 - 0.005 - 0.1 * 6 / 4 - 0.1)
    assert (row["n_layers"], row["n_seeds"], row["n_live"]) == (4, 3, 36)
    assert row["share_kept"] == pytest.approx(1 / 3)
    assert row["effective_layers"] == pytest.approx(96 / 36)
    assert table.loc[table["arm"] == "per-layer", "share_kept"].isna().all()


def test_the_order_of_rows_and_files_changes_nothing(measured, features):
    arms = features.experiment.arms
    shuffled = Measured(*(frame.sample(frac=1, random_state=0) for frame in measured))
    for table in (features_table, coverage_table):
        one, other = (table(arms, each) for each in (measured, shuffled))
        keys = [name for name in ("arm", "factor") if name in one]
        one, other = (each.sort_values(keys, ignore_index=True) for each in (one, other))
        pd.testing.assert_frame_equal(one, other)


def test_layers_without_a_latent_to_score_drop_out(measured, features):
    meaning = measured.meaning.copy()
    single = of_arm(meaning, "single", seed=1)
    nothing = ["balanced_accuracy", "floor", "ceiling"]
    # No rule of layer 3 could be learned in one seed, none of layer 0 tried on layer 1.
    meaning.loc[single & (meaning["layer"] == 3), nothing] = np.nan
    pair = (meaning["layer"] == 0) & (meaning["other_layer"] == 1)
    meaning.loc[single & pair, nothing] = np.nan
    parts = measured._replace(meaning=meaning)
    row = features_table(features.experiment.arms, parts).set_index("arm").loc["single"]
    assert (row["meaning_own_n_layers"], row["meaning_other_n_layers"]) == (3, 3)
    # From 0 two and three layers away, from 1 one, one and two, from 2 one, one and two.
    assert row["meaning_lost"] == pytest.approx(0.01 + 0.05 * (2.5 + 4 / 3 + 4 / 3) / 3)
    # Compared with per-layer SAEs on the layers that are left.
    assert row["meaning_own_vs_baseline"] == pytest.approx(-0.1 * 3 / 4)
    pairs = meaning_table(features.experiment.arms, parts)
    assert pairs.loc[of_arm(pairs, "single", layer=3), "n_seeds"].tolist() == [2] * 4
    meaning.loc[single, nothing] = np.nan
    row = features_table(features.experiment.arms, parts).set_index("arm").loc["single"]
    assert row.filter(like="meaning_lost").isna().all()
    assert row["meaning_own_n_layers"] == 0


def test_seeds_without_latents_that_could_be_kept_count_for_nothing(measured, features):
    kept = measured.kept.copy()
    counts = ["n_explained", "n_kept", "n_pairs", "n_pairs_kept"]
    kept.loc[of_arm(kept, "single", seed=2), counts] = 0
    parts = measured._replace(kept=kept)
    rows = features_table(features.experiment.arms, parts).set_index("arm")
    assert rows["share_kept"]["single"] == pytest.approx(14 / 41)
    # Two seeds are left: residuals ±7/41 over 20.5, and t of one degree of freedom is 12.7062.
    half = 12.7062 * 7 / 41 / 20.5
    assert rows["share_kept_low"]["single"] == pytest.approx(max(0, 14 / 41 - half))
    assert rows["share_kept_high"]["single"] == pytest.approx(14 / 41 + half)
    assert rows["share_pairs_kept"]["single"] == pytest.approx(22 / 41)
    kept.loc[of_arm(kept, "single"), counts] = 0
    rows = features_table(features.experiment.arms, parts).set_index("arm")
    assert rows.loc["single"].filter(like="share_kept").isna().all()
    assert rows.loc["single"].filter(like="share_pairs_kept").isna().all()
    pairs = meaning_table(features.experiment.arms, parts)
    assert pairs.loc[of_arm(pairs, "single"), "share_kept"].isna().all()


def test_one_seed_has_no_other_to_be_similar_to(tmp_path):
    experiment = Experiment(tmp_path, **SMALL | {"seeds": (0,)}, variants=False)
    paths = write_feature_tables(Features(experiment))
    rows = read_file(paths["features"]).set_index("arm")
    # SAEs of one seed start alike, shared ones and per-layer ones too.
    for name in ("similarity", "matched"):
        empty = [name, f"{name}_ceiling", f"{name}_vs_baseline", f"{name}_low"]
        assert rows[empty].isna().all(axis=None)
    assert rows["similarity_floor"].tolist() == pytest.approx([0.2] * len(rows))
    assert set(rows["similarity_n_layers"]) == {0}
    assert rows.filter(regex="_(low|high)$").isna().all(axis=None)
    factors = read_file(paths["feature_coverage"])
    ends = ["f1_low", "f1_vs_baseline_low", "f1_vs_baseline_p"]
    assert factors[ends].isna().all(axis=None)
    assert factors["f1"].notna().all()


def test_text_without_known_factors(tmp_path):
    experiment = Experiment(tmp_path, **SMALL, variants=False)
    paths = write_feature_tables(Features(experiment, factors={}))
    rows, factors = read_file(paths["features"]), read_file(paths["feature_coverage"])
    assert rows.filter(like="coverage").isna().all(axis=None)
    assert set(rows["n_values"]) == {0}
    assert factors.empty
    assert {"arm", "factor", "f1", "f1_vs_baseline_high", "f1_vs_baseline_p"} <= set(factors)


def test_the_baseline_alone_has_the_same_columns(measured, features, tables):
    alone = features_table(features.experiment.arms[:1], measured)
    assert set(alone.columns) == set(tables["features"].columns)
    assert len(alone) == 1
    ends = [name + end for name in MEASURES for end in ("", "_low", "_high")]
    ends += [f"{name}_vs_baseline{end}" for name in COMPARED for end in ("", "_low", "_high")]
    assert set(ends) <= set(alone.columns)


def test_missing_arms_and_seeds_and_other_factors_are_named(measured, features):
    arms = features.experiment.arms
    for name in ("spread", "meaning", "kept", "similarity", "coverage"):
        frame = getattr(measured, name)
        for wrong in (frame[~of_arm(frame, "single")], frame[~of_arm(frame, "single", seed=1)]):
            with pytest.raises(InputError, match=f"latents of single were measured .{name}."):
                features_table(arms, measured._replace(**{name: wrong}))
    coverage = measured.coverage
    fewer = coverage[~of_arm(coverage, "single", factor="subject", seed=1)]
    with pytest.raises(InputError, match="single and the per-layer SAEs were asked for other fac"):
        coverage_table(arms, measured._replace(coverage=fewer))
