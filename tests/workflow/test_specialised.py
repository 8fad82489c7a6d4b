"""Share, then specialise, in the DAG: what is trained, in which order, and what a change reruns."""

import json

import pandas as pd
import pytest
from snakemake_project import Project

#: Down the tree of three layers at half of the per-layer cost: 3/4 T for all layers together, the
#: rest evenly for the four SAEs below, beside per-layer SAEs on half of the activations.
SPECIALISE = [{"from": ["tree"], "budgets": [0.5]}]
CHILD, GRANDCHILD = "tokens-3of16@tokens-3of4", "tokens-3of16@tokens-3of16@tokens-3of4"


def tree(project: Project) -> tuple[str, str]:
    """The names of the pair of layers and of the layer that is left alone."""
    file = project.folder / "results/tiny/clusters/partitions.json"
    clusters = json.loads(file.read_text())["partitions"]["complete-2"]["clusters"]
    single, pair = sorted(clusters, key=len)
    return pair, single


@pytest.fixture(scope="module")
def trained(first_run, tmp_path_factory):
    """The finished project with specialised SAEs; for reading and copying only."""
    project = first_run[0].copy(tmp_path_factory.mktemp("specialised") / "project")
    project.configure(clustering={"specialise": SPECIALISE})
    plan = project.plan()
    project.run()
    return project, plan


@pytest.fixture
def specialised(trained, tmp_path):
    return trained[0].copy(tmp_path / "specialised")


def test_each_sae_of_the_tree_is_trained_once_and_nothing_else(trained):
    _, plan = trained
    saes = {"train_sae": 1 + 4 + 3, "evaluate_reconstruction": 3 + 3, "evaluate_splice": 2}
    assert plan.items() >= saes.items()
    assert not plan.keys() & {"cache_activations", "cluster_layers", "train_model"}


def test_a_child_reads_on_where_its_parent_stopped(trained):
    project, _ = trained
    pair, single = tree(project)
    saes = project.folder / "results/tiny/saes"

    def config(variant: str, name: str) -> dict:
        return json.loads((saes / variant / name / "seed-0/cfg.json").read_text())

    root = config("tokens-3of4", "0-2")
    middle = config(CHILD, f"{pair}@0-2")
    leaf = config(GRANDCHILD, f"{pair[0]}@{pair}@0-2")
    assert config(CHILD, f"{single}@0-2")["layers"] == [int(single)]
    assert root["first_step"] == 0
    assert middle["first_step"] == root["n_steps"]
    assert leaf["first_step"] == root["n_steps"] + middle["n_steps"]
    assert leaf["layers"] == [int(pair[0])]
    assert leaf["cluster"] == f"{pair[0]}@{pair}@0-2"


def test_an_arm_pays_for_every_sae_that_it_needs_once(trained):
    project, _ = trained
    folder = project.folder / "results/tiny"
    rows = pd.read_csv(folder / "evaluation/cost.csv", dtype={"cluster": str})
    table = pd.read_csv(folder / "tables/cost.csv").set_index("arm")
    arm = table.loc[f"per-layer@complete-tree ({CHILD})"]
    own = rows[rows["variant"].isin(["tokens-3of4", CHILD, GRANDCHILD])]
    assert len(own) == arm["n_saes"] == 5
    assert arm["training_seconds"] == pytest.approx(own["seconds"].sum())
    assert arm["flops_training"] / table.loc["per-layer", "flops_training"] == pytest.approx(
        0.5, rel=0.05
    )


def test_children_wait_for_parents_and_for_nobody_else(specialised):
    """Deleting the pair's SAE asks for it again, and for what came from it."""
    pair, _ = tree(specialised)
    saes = specialised.folder / "results/tiny/saes"
    (saes / CHILD / f"{pair}@0-2/seed-0/sae.safetensors").unlink()
    (saes / GRANDCHILD / f"{pair[0]}@{pair}@0-2/seed-0/sae.safetensors").unlink()
    target = f"results/tiny/saes/{GRANDCHILD}/{pair[0]}@{pair}@0-2/seed-0/sae.safetensors"
    assert specialised.plan(target) == {"train_sae": 2}


def test_the_recipe_reruns_only_what_was_specialised(specialised):
    specialised.configure(sae={"specialise": {"warmup_fraction": 0.2}})
    plan = specialised.plan()
    assert plan["train_sae"] == 4
    assert plan["evaluate_reconstruction"] == 3
    assert plan["evaluate_splice"] == 1


def test_another_split_of_the_budget_trains_other_saes(specialised):
    specialised.configure(sae={"specialise": {"shared_fraction": 0.4}})
    assert specialised.plan()["train_sae"] == 5


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
    fresh.configure(clustering={"specialise": [{"from": ["tree"], "budgets": [0.05]}]})
    result = fresh.snakemake("-n")
    assert result.returncode != 0
    assert "leaves 75 activations for each of the SAEs that start from them" in result.stdout
    assert "Job stats" not in result.stdout


def test_pilots_choose_roots_and_budget_and_the_run_goes_on_from_there(finished):
    finished.configure(
        clustering={"specialise": "auto", "pilot_fraction": 0.5},
        sae={"tokens": 60_000},
        evaluation={"tasks": []},
    )
    finished.run()
    folder = finished.folder / "results/tiny"
    (chosen,) = (json.loads(path.read_text()) for path in folder.glob("clusters/chosen_spec*.json"))
    arms = pd.read_csv(folder / "tables/arms.csv")
    (arm,) = arms[arms["role"] == "specialised"].itertuples()
    assert arm.matched_count / 3 == pytest.approx(chosen["budget"], rel=0.05)
    start = arm.partition.partition("@")[2]
    assert start == ("single" if chosen["from"] == 1 else f"complete-{chosen['from']}")
    cost = pd.read_csv(folder / "tables/cost.csv").set_index("arm")
    assert cost.loc[arm.arm, "pilot_seconds"] > 0
    assert cost.loc["per-layer", "pilot_seconds"] == 0
