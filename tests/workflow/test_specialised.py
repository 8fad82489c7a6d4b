"""Share, then specialise, in the DAG: what is trained, in which order, and what a change reruns."""

import json

import pandas as pd
import pytest
from snakemake_project import Project

#: From one SAE at half of the per-layer cost: T/4 tokens at each of three layers, then T/4 for each
#: layer's own SAE, beside per-layer SAEs on half of the activations.
SPECIALISED = [{"from": 1, "budgets": [0.5]}]
ROOT = "equal-exposure-1of4"
CHILD, ARM = f"tokens-1of4@{ROOT}", f"per-layer@single (tokens-1of4@{ROOT})"


@pytest.fixture(scope="module")
def trained(first_run, made_once):
    """The finished project with specialised SAEs; for reading and copying only."""

    def make(place):
        project = first_run[0].copy(place)
        project.configure(arms={"specialised": SPECIALISED})
        project.run("results/tiny/plan.json")
        plan = project.plan()
        project.run("results/tiny/tables/arms.csv", "results/tiny/tables/cost.csv")
        return plan

    place, plan = made_once("specialised", make)
    return Project(place), plan


@pytest.fixture
def specialised(trained, tmp_path):
    return trained[0].copy(tmp_path / "specialised")


def test_each_sae_of_the_plan_is_trained_once_and_nothing_else(trained):
    _, plan = trained
    saes = {"train_sae": 1 + 3 + 3, "evaluate_reconstruction": 3 + 3, "evaluate_splice": 2}
    assert plan.items() >= saes.items()
    assert not plan.keys() & {"cache_activations", "cluster_layers", "train_model"}


def test_the_plan_says_what_was_trained_and_from_what(trained):
    folder = trained[0].folder / "results/tiny"
    plan = json.loads((folder / "plan.json").read_text())
    made = {file.parent.relative_to(folder / "saes") for file in folder.glob("saes/*/*/*/cfg.json")}
    assert {str(each.parent) for each in made} == {
        f"{each['variant']}/{each['sae']}" for each in plan["saes"]
    }
    for each in plan["saes"]:
        file = folder / f"saes/{each['variant']}/{each['sae']}/seed-0/training.json"
        assert json.loads(file.read_text())["activations"] == each["training_tokens"]
    arms = pd.read_csv(folder / "tables/arms.csv")
    assert {arm["name"] for arm in plan["arms"]} == set(arms["arm"])


def test_a_child_reads_on_where_its_parent_stopped(trained):
    saes = trained[0].folder / "results/tiny/saes"

    def config(variant: str, name: str) -> dict:
        return json.loads((saes / variant / name / "seed-0/cfg.json").read_text())

    root, child = config(ROOT, "0-2"), config(CHILD, "1@0-2")
    assert root["first_step"] == 0
    # The root has read each of its tokens three times.
    n_read = root["n_steps"] * root["batch_size"] // 3
    assert child["first_step"] == -(-n_read // child["batch_size"])
    assert child["layers"] == [1]
    assert child["cluster"] == "1@0-2"


def test_an_arm_pays_for_every_sae_that_it_needs_once(trained):
    folder = trained[0].folder / "results/tiny"
    rows = pd.read_csv(folder / "evaluation/cost.csv", dtype={"cluster": str})
    table = pd.read_csv(folder / "tables/cost.csv").set_index("arm")
    own = rows[rows["variant"].isin([ROOT, CHILD])]
    assert len(own) == table.loc[ARM, "n_saes"] == 4
    assert table.loc[ARM, "training_seconds"] == pytest.approx(own["seconds"].sum())
    ratio = table.loc[ARM, "flops_training"] / table.loc["per-layer", "flops_training"]
    assert ratio == pytest.approx(0.5, rel=0.05)


def test_children_wait_for_parents_and_for_nobody_else(specialised):
    """Deleting the shared SAE asks for it again where its child is asked for, and that is all."""
    saes = specialised.folder / "results/tiny/saes"
    (saes / ROOT / "0-2/seed-0/sae.safetensors").unlink()
    (saes / CHILD / "1@0-2/seed-0/sae.safetensors").unlink()
    target = f"results/tiny/saes/{CHILD}/1@0-2/seed-0/sae.safetensors"
    assert specialised.plan(target) == {"train_sae": 2}


def test_the_recipe_reruns_only_what_was_specialised(specialised):
    specialised.configure(sae={"specialise": {"learning_rate": 0.002}})
    plan = specialised.plan()
    assert (plan["train_sae"], plan["evaluate_reconstruction"], plan["evaluate_splice"]) == (
        3,
        3,
        1,
    )


def test_another_split_of_the_budget_trains_other_saes(specialised):
    specialised.configure(sae={"specialise": {"shared_fraction": 0.4}})
    specialised.run("results/tiny/plan.json")
    assert specialised.plan()["train_sae"] == 4


def test_the_first_seed_chooses_the_learning_rate_for_all(finished):
    finished.configure(sae={"learning_rate": [1e-5, 0.01], "seeds": [0, 1]})
    target = "results/tiny/saes/base/0/seed-1/training.json"
    assert finished.plan(target) == {"train_sae": 2}
    finished.run(target)
    records = [
        json.loads(
            (finished.folder / f"results/tiny/saes/base/0/seed-{seed}/training.json").read_text()
        )
        for seed in (0, 1)
    ]
    assert [record["learning_rate"] for record in records] == [0.01, 0.01]
    assert set(records[0]["validation_fvu"]) == {"1e-05", "0.01"}
    assert records[0]["tuning_seconds"] > 0
    assert records[1]["validation_fvu"] == {}
    assert records[1]["tuning_seconds"] == 0


def test_too_short_a_training_is_named_before_any_job(fresh):
    fresh.configure(arms={"specialised": [{"from": 1, "budgets": [0.05]}]})
    result = fresh.snakemake("-n")
    assert result.returncode != 0
    assert "leaves 100 activations for each of the SAEs that start from them" in result.stdout
    assert "Job stats" not in result.stdout


@pytest.mark.long
def test_pilots_choose_one_arm_and_the_run_goes_on_from_there(finished):
    finished.configure(
        arms={
            **{"auto": ["shared", "specialised"], "pilot_fraction": 0.5, "shared": {"counts": []}},
            "margins": {"mean": 1000.0, "worst": 1000.0},
        },
        sae={"training_tokens": 60_000},
        evaluation={"tasks": []},
    )
    printed = finished.run("plan").stdout
    assert "pilot trainings, which add one arm" in printed
    folder = finished.folder / "results/tiny"
    assert not (folder / "plan.json").exists() or "auto" in (folder / "plan.json").read_text()
    finished.run("results/tiny/tables/arms.csv", "results/tiny/tables/cost.csv")
    auto = json.loads((folder / "plan.json").read_text())["auto"]
    # Any loss is within these margins: the cheapest is the specialised arm of the least budget.
    assert auto["family"] == "specialised"
    assert auto["entry"]["budgets"] == [0.2]
    arms = pd.read_csv(folder / "tables/arms.csv")
    (arm,) = arms[arms["role"] == "specialised"].itertuples()
    assert arm.matched_count / 3 == pytest.approx(0.2, rel=0.05)
    cost = pd.read_csv(folder / "tables/cost.csv").set_index("arm")
    assert cost.loc[arm.arm, "pilot_seconds"] > 0
    assert cost.loc["per-layer", "pilot_seconds"] == 0
