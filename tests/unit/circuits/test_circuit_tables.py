"""The tables of circuits, from files whose areas are known."""

import numpy as np
import pandas as pd
import pytest
from synthetic_circuits import (
    FULL,
    MARGIN,
    MIN_GAP,
    SIZES,
    TASKS,
    Circuits,
    curves_of,
    write_circuit_tables,
)
from synthetic_results import Experiment

from clustersae.circuits.curves import log_weights
from clustersae.circuits.needed import COLUMNS, nodes_needed, with_nodes_needed
from clustersae.circuits.table import (
    CURVES,
    MEASURES,
    NODES,
    PROMPTS,
    circuits_table,
    curves_table,
    overall,
    tasks_table,
)
from clustersae.presentation.arms import of_every_arm
from clustersae.presentation.tables import read_file, read_files
from clustersae.runtime.errors import InputError
from clustersae.statistics.crossed import Crossed, estimate

SMALL = {"n_layers": 4, "counts": (2,), "seeds": (0, 1, 2), "specialise": (1,)}


@pytest.fixture(scope="module")
def circuits(tmp_path_factory):
    return Circuits(Experiment(tmp_path_factory.mktemp("circuits"), **SMALL))


@pytest.fixture(scope="module")
def tables(circuits):
    return {name: read_file(path) for name, path in write_circuit_tables(circuits).items()}


@pytest.fixture(scope="module")
def measured(circuits):
    frames = (
        read_files(circuits.paths[name], format)
        for name, format in (("prompts", PROMPTS), ("nodes", NODES))
    )
    return tuple(of_every_arm(frame, circuits.experiment.arms) for frame in frames)


def headline(table, task, control="none", errors="ablated", ablation="mean"):
    rows = table[(table["task"] == task) & (table["control"] == control)]
    rows = rows[(rows["errors"] == errors) & (rows["ablation"] == ablation)]
    return rows.set_index("arm")


def area_of(lack, factor=1.0, seeds=(0, 1, 2)):
    weights = log_weights(np.asarray(SIZES))
    return np.mean([weights @ curves_of(lack, factor, seed)[0] for seed in seeds])


def test_areas_are_those_of_the_curves(tables):
    for task in (*TASKS, "all"):
        rows = headline(tables["circuits"], task)
        assert rows["faithfulness"]["per-layer"] == pytest.approx(area_of(0))
        assert rows["faithfulness"]["single"] == pytest.approx(area_of(0.6))
        assert rows["faithfulness"]["complete-2"] == pytest.approx(area_of(0.2))
        assert rows["faithfulness"]["residual-basis"] == pytest.approx(area_of(0, 5, [0]))
        assert rows["completeness"].nunique() <= len(rows)
        random = headline(tables["circuits"], task, "random")
        assert random["faithfulness"]["per-layer"] == pytest.approx(area_of(0, 50))


def test_what_never_overshoots_is_as_far_from_one_as_its_area_says(tables):
    for task in (*TASKS, "all"):
        rows = headline(tables["circuits"], task)
        assert rows["distance"].tolist() == pytest.approx((1 - rows["faithfulness"]).tolist())


def test_nodes_that_half_of_the_behaviour_takes(tables):
    """Faithfulness is 0.5 at N = 10 (1 + h) for seed 0: interpolated, to within a few percent."""
    needed = {}
    for task in ("toy_agreement", "all"):
        rows = headline(tables["circuits"], task)
        needed = rows["nodes_needed"]
        for arm, lack in (("per-layer", 0), ("complete-2", 0.2), ("single", 0.6)):
            expected = [
                nodes_needed(SIZES, curves_of(lack, 1.0, seed)[0].tolist()) for seed in range(3)
            ]
            assert needed[arm] == pytest.approx(np.exp(np.mean(np.log(expected))))
            assert needed[arm] == pytest.approx(10 * (1 + lack), rel=0.1)
        assert rows["nodes_ratio"]["single"] == pytest.approx(
            needed["single"] / needed["per-layer"]
        )
        assert rows["nodes_ratio_low"]["single"] <= rows["nodes_ratio"]["single"]
        # Not of the baseline beside itself, nor of what has no seeds to be paired.
        assert rows.loc[["per-layer", "residual-basis"], "nodes_ratio"].isna().all()
        assert set(rows["nodes_reached"]) == {1}
    zero = headline(tables["circuits"], "all", ablation="zero")
    assert zero["nodes_ratio"].isna().all(), "gaps of their own have no unit in common"
    # Random circuits of per-layer SAEs reach half at 500 nodes; 600 are not enough for others.
    random = headline(tables["circuits"], "all", "random")
    assert random["nodes_needed"]["single"] != random["nodes_needed"]["single"]
    assert random["nodes_reached"]["single"] == 0


def test_nodes_needed_by_some_seeds_are_a_share_and_without_a_gap_or_a_curve_nothing(
    tables, circuits
):
    curves = read_files(circuits.paths["curves"], CURVES)
    single = (curves["partition"] == "single") & (curves["variant"] == "base")
    curves["faithfulness"] = curves["faithfulness"].where(~single | (curves["seed"] > 0), 0.49)
    curves = curves[~single | (curves["task"] != "toy_greater_than")]
    given = tables["circuits"].drop(columns=COLUMNS).iloc[::-1]
    given.loc[given["task"] == "toy_indirect_object", "distance"] = np.nan
    table = with_nodes_needed(given, curves, circuits.experiment.arms, "all")
    rows = headline(table, "toy_agreement")
    assert rows["nodes_reached"][["single", "complete-2"]].tolist() == [2 / 3, 1]
    assert rows["nodes_needed"][["single", "complete-2"]].isna().tolist() == [True, False]
    expected = headline(tables["circuits"], "toy_agreement")["nodes_needed"]
    assert rows["nodes_needed"]["complete-2"] == pytest.approx(expected["complete-2"])
    assert headline(table, "toy_greater_than").loc["single", COLUMNS].isna().all()
    assert headline(table, "toy_indirect_object")[COLUMNS].isna().all(axis=None)


def test_deviation_is_prompt_by_prompt_and_all_latents_are_not(tables):
    rows = headline(tables["circuits"], "toy_agreement")
    # Short on even prompts and beyond on odd ones: on average nothing is missing.
    assert rows["all_latents"]["single"] == pytest.approx(1, abs=0.01)
    assert rows["deviation"]["per-layer"] == pytest.approx(0.1)
    assert rows["deviation"]["single"] == pytest.approx(0.16)
    assert rows["deviation"]["residual-basis"] == pytest.approx(0)
    assert rows["deviation_vs_baseline"]["single"] == pytest.approx(0.06)


def test_intervals_are_over_prompts_and_seeds(measured, circuits):
    """The table's areas and differences against ratios taken here."""
    table = circuits_table(circuits.experiment.arms, *measured, MIN_GAP, MARGIN)
    row = headline(table, "toy_agreement").loc["single"]

    def area(partition, name):
        rows = measured[0]
        rows = rows[(rows["partition"] == partition) & (rows["variant"] == "base")]
        rows = headline(rows.assign(arm=""), "toy_agreement")
        wide = {
            each: rows.pivot(index="prompt", columns="seed", values=each).to_numpy()
            for each in (name, "empty", "full")
        }
        rise = wide[name] - (0 if name == "distance" else wide["empty"])
        return Crossed.ratio(rise, wide["full"] - wide["empty"])

    pairs = (("faithfulness", "circuit"), ("completeness", "complement"), ("distance", "distance"))
    for measure, name in pairs:
        single, per_layer = area("single", name), area("per-layer", name)
        difference = single.minus(per_layer)
        for column, own in ((measure, single), (f"{measure}_vs_baseline", difference)):
            found = [row[f"{column}{end}"] for end in ("", "_low", "_high")]
            assert found == pytest.approx(estimate([own]).interval(), abs=1e-9)
        assert row[f"{measure}_low"] < row[measure] < row[f"{measure}_high"]


def test_words_say_what_differences_show(tables):
    rows = headline(tables["circuits"], "all")
    assert rows["distance_verdict"]["single"] == "worse"
    assert "faithfulness_verdict" not in rows, "nobody is better for overshooting"
    assert rows["deviation_verdict"]["single"] == "worse"
    # The same curve for every arm: no difference, which needs no margin to be none.
    assert rows["completeness_verdict"]["single"] == "equivalent"
    assert rows.loc["per-layer"].filter(like="_verdict").isna().all()
    zero = headline(tables["circuits"], "all", ablation="zero")
    assert zero.filter(like="_verdict").isna().all(axis=None)


def test_prompts_that_hang_together_count_as_one(measured, circuits):
    """Saying everything twice makes nobody surer."""
    prompts, nodes = measured
    again = prompts.assign(prompt=prompts["prompt"] + 1000)
    twice = pd.concat([prompts, again], ignore_index=True)
    apart = twice.assign(group=twice["prompt"])
    arms = circuits.experiment.arms
    once, linked, unlinked = (
        headline(circuits_table(arms, each, nodes, MIN_GAP, MARGIN), "toy_agreement")
        for each in (prompts, twice, apart)
    )
    assert set(linked["n_prompts"]) == {80}
    assert set(linked["n_groups"]) == {40}
    pd.testing.assert_frame_equal(linked.assign(n_prompts=40), once)
    width, narrower = (
        (rows["faithfulness_high"] - rows["faithfulness_low"])["single"]
        for rows in (once, unlinked)
    )
    assert narrower < 0.8 * width


def test_differences_are_paired_and_the_baseline_has_none(tables):
    rows = headline(tables["circuits"], "all")
    single = rows.loc["single"]
    # What prompts stray is the same in both arms, and cancels.
    alone = single["faithfulness_high"] - single["faithfulness_low"]
    paired = single["faithfulness_vs_baseline_high"] - single["faithfulness_vs_baseline_low"]
    assert paired < 0.2 * alone
    expected = single["faithfulness"] - rows["faithfulness"]["per-layer"]
    assert single["faithfulness_vs_baseline"] == pytest.approx(expected)
    assert single["faithfulness_vs_baseline_high"] < 0
    assert rows.loc["per-layer"].filter(like="vs_baseline").isna().all()


def test_the_mean_of_tasks_is_surer_than_any_of_them(tables):
    of_tasks = [headline(tables["circuits"], task).loc["single"] for task in TASKS]
    mean = headline(tables["circuits"], "all").loc["single"]
    for measure in MEASURES:
        assert mean[measure] == pytest.approx(np.mean([row[measure] for row in of_tasks]))
    widths = [row["completeness_high"] - row["completeness_low"] for row in of_tasks]
    assert mean["completeness_high"] - mean["completeness_low"] < min(widths)
    assert mean["n_prompts"] == sum(TASKS.values())
    assert mean["n_seeds"] == 3


def test_one_row_per_task_arm_and_mode(tables, circuits):
    table = tables["circuits"]
    n_arms = len(circuits.experiment.arms) + 1
    assert len(table) == (len(TASKS) + 1) * n_arms * 7
    assert not table.duplicated(["task", "arm", "control", "errors", "ablation"]).any()
    basis = table[table["arm"] == "residual-basis"]
    assert set(basis["n_seeds"]) == {1}
    assert set(basis["role"]) == {"control"}


def test_arms_of_the_same_saes_repeat_what_was_measured_once(tables, circuits):
    arms = {arm.name: arm for arm in circuits.experiment.arms}
    assert arms["even-2"].saes == arms["random-2"].saes
    assert not any("random-2" in path.parts for path in circuits.paths["prompts"])
    for name in ("circuits", "circuit_curves"):
        table = tables[name].drop(columns=["partition", "method"], errors="ignore")
        even, random = (
            table[table["arm"] == arm].drop(columns="arm").reset_index(drop=True)
            for arm in ("even-2", "random-2")
        )
        assert len(even)
        pd.testing.assert_frame_equal(even, random)


def test_what_was_found_stands_beside_circuits_that_effects_chose(tables):
    rows = headline(tables["circuits"], "toy_agreement")
    # One of the first four nodes (as many as layers, though none of the ten is on the last).
    assert rows["error_share"]["single"] == pytest.approx(0.25)
    assert rows["error_share"]["residual-basis"] == 0
    assert rows["agreement"]["single"] == pytest.approx(1)
    assert (rows["n_checked"]["single"], rows["n_checked_errors"]["single"]) == (4, 1)
    random = headline(tables["circuits"], "toy_agreement", "random")
    assert random[["error_share", "agreement", "n_checked"]].isna().all(axis=None)
    assert headline(tables["circuits"], "all")["agreement"].isna().all()


def numbers_of(table, task, ablation="mean"):
    """Measures, their differences and all intervals: [arms, columns]."""
    rows = headline(table, task, ablation=ablation)
    return rows[[name for name in rows if name.startswith(MEASURES)]]


def test_ends_stand_in_every_row(tables):
    for task, n_prompts in TASKS.items():
        rows = headline(tables["circuits"], task)
        full = np.mean(FULL * (1 + 0.2 * np.sin(np.arange(n_prompts))))
        assert rows["full"].tolist() == pytest.approx([full] * len(rows))
        assert (rows["empty"] == 0).all()
    of_all = tables["circuits"].query("task == 'all' and control == 'none'")
    one = tables["circuits"].query("task != 'all' and arm == 'single' and control == 'none'")
    assert of_all["full"].tolist() == pytest.approx([one["full"].mean()] * len(of_all))


def test_too_small_a_gap_leaves_everything_out(measured, circuits):
    """Gaps of 0.49 and −0.51 in one task, where 0.5 is asked for."""
    prompts, nodes = measured
    task = (prompts["task"] == "toy_agreement") & (prompts["control"] == "none")
    mean = prompts.loc[task, "full"].mean()
    for gap, is_left_out in ((0.49, True), (-0.51, False)):
        near = prompts.copy()
        near.loc[task & (prompts["ablation"] == "mean"), "empty"] = mean - gap
        table = circuits_table(circuits.experiment.arms, near, nodes, MIN_GAP, MARGIN)
        rows = headline(table, "toy_agreement")
        assert (rows["full"] - rows["empty"]).tolist() == pytest.approx([gap] * len(rows))
        assert rows["error_share"].notna().all()
        for name in ("toy_agreement", "all"):
            own = numbers_of(table, name).drop("per-layer")
            assert own.isna().all(axis=None) if is_left_out else own.notna().all(axis=None)
        assert numbers_of(table, "toy_greater_than").drop("per-layer").notna().all(axis=None)
        assert headline(table, "toy_agreement", "random")["deviation"].notna().all()
        curves = read_files(circuits.paths["curves"], CURVES)
        found = curves_table(circuits.experiment.arms, curves, table)
        for name in ("toy_agreement", "all"):
            own = headline(found, name)[["faithfulness", "completeness"]]
            assert own.isna().all(axis=None) if is_left_out else own.notna().all(axis=None)
        assert headline(found, "toy_greater_than")["faithfulness"].notna().all()


def test_zero_ablation_has_a_gap_of_its_own_in_every_arm(measured, circuits):
    prompts, nodes = measured
    single = (prompts["partition"] == "single") & (prompts["variant"] == "base")
    own = prompts.assign(
        empty=prompts["empty"].where(~single | (prompts["ablation"] != "zero"), prompts["full"])
    )
    table = circuits_table(circuits.experiment.arms, own, nodes, MIN_GAP, MARGIN)
    rows = numbers_of(table, "toy_agreement", "zero")
    assert rows.loc["single"].isna().all()
    against = rows.columns.str.contains("_vs_baseline|_verdict")
    assert rows.loc[:, against].isna().all(axis=None)
    assert rows.loc[:, ~against].drop("single").notna().all(axis=None)
    assert numbers_of(table, "toy_agreement").drop("per-layer").notna().all(axis=None)


def test_tasks_that_the_model_cannot_do_say_why(tables):
    rows = tables["tasks"].set_index("task")
    assert list(rows.index) == [*TASKS, "toy_arithmetic"]
    assert rows["usable"].tolist() == [True] * 3 + [False]
    assert rows["reason"]["toy_arithmetic"] == "the model cannot do this task"
    assert rows["logit_difference"]["toy_agreement"] == FULL
    assert set(rows["lost"]) == {"same answer:7 lengths:3"}
    assert "toy_arithmetic" not in set(tables["circuits"]["task"])


def test_curves_are_means_over_seeds_and_tasks(tables, circuits):
    table = tables["circuit_curves"]
    n_arms = len(circuits.experiment.arms) + 1
    assert len(table) == (len(TASKS) + 1) * n_arms * 7 * len(SIZES)
    expected = np.mean([curves_of(0.6, 1, seed)[0] for seed in range(3)], axis=0)
    for task in ("toy_agreement", "all"):
        own = headline(table, task).loc["single"]
        assert own["size"].tolist() == SIZES
        assert own["faithfulness"].tolist() == pytest.approx(expected.tolist())
        assert set(own["n_seeds"]) == {3}


def test_the_mean_curve_is_of_sizes_that_all_tasks_have(circuits, tables):
    curves = read_files(circuits.paths["curves"], CURVES)
    curves = curves[(curves["task"] != "toy_agreement") | (curves["size"] != SIZES[3])]
    table = curves_table(circuits.experiment.arms, curves, tables["circuits"])
    assert set(table.loc[table["task"] == "all", "size"]) == set(SIZES) - {SIZES[3]}


def test_one_task_has_no_mean_of_all(tmp_path):
    experiment = Experiment(tmp_path, **SMALL | {"seeds": (0,)})
    tables = write_circuit_tables(Circuits(experiment, {"gender": 6}))
    table = read_file(tables["circuits"])
    assert set(table["task"]) == {"gender"}
    assert set(read_file(tables["circuit_curves"])["task"]) == {"gender"}
    assert len(overall(table)) == len(table)
    # Of one seed nobody knows how the next one comes out; what has no seeds has prompts.
    basis = table["arm"] == "residual-basis"
    assert table.loc[~basis, "completeness_low"].isna().all()
    assert table.loc[basis, "completeness_low"].notna().all()


def test_no_task_leaves_tables_with_columns_alone(circuits, tables, tmp_path):
    experiment = Experiment(tmp_path, **SMALL)
    empty = {n: read_file(p) for n, p in write_circuit_tables(Circuits(experiment, {})).items()}
    assert len(empty["tasks"]) == 1
    for name in ("circuits", "circuit_curves"):
        assert empty[name].empty
        assert list(empty[name].columns) == list(tables[name].columns)


def test_missing_arms_and_other_prompts_are_named(measured, circuits):
    prompts, nodes = measured
    arms = circuits.experiment.arms
    without = prompts[(prompts["partition"] != "single") | (prompts["variant"] != "base")]
    with pytest.raises(InputError, match="No circuits were measured in single for toy_agreement"):
        circuits_table(arms, without, nodes, MIN_GAP, MARGIN)
    of_single = (prompts["partition"] == "single") & (prompts["variant"] == "base")
    fewer = prompts[~of_single | (prompts["prompt"] > 0)]
    other = prompts.assign(full=prompts["full"] + of_single)
    one_seed = prompts[~of_single | (prompts["prompt"] > 0) | (prompts["seed"] > 0)]
    for wrong in (fewer, other, one_seed):
        with pytest.raises(InputError, match="single were measured on other prompts of toy_agree"):
            circuits_table(arms, wrong, nodes, MIN_GAP, MARGIN)


def test_records_without_losses():
    record = {"task": "a", "lost": {}, "usable": False, "accuracy": None}
    assert tasks_table([record])["lost"].tolist() == [""]
