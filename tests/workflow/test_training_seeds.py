"""Seeds of a language model: jobs of their own, and a table that needs nothing but them."""

import json

from clustersae.tables.published import METRICS

RECORD = "results/tiny/tables/seeds.json"


def training(**changes):
    return {"models": {"tiny": {"training": changes}}}


def test_without_a_record_there_is_one_training(fresh):
    jobs = fresh.plan()
    assert jobs["train_model"] == 1
    assert not {"train_model_seed", "tabulate_seeds", "figure_language_model"} & jobs.keys()


def test_every_seed_is_trained_and_the_table_names_them_all(fresh):
    fresh.configure(**training(record=True, other_seeds=[7], sampling="offsets"))
    whole = fresh.plan()
    assert (whole["train_model"], whole["train_model_seed"]) == (1, 1)
    assert (whole["tabulate_seeds"], whole["figure_language_model"]) == (1, 1)

    result = fresh.run(RECORD)
    folder = fresh.folder / "results/tiny"
    assert (folder / "tables/seeds.txt").read_text(encoding="utf-8") in result.stdout
    (form,) = json.loads((fresh.folder / RECORD).read_text()).values()
    assert {metric: len(values) for metric, values in form["final_info_dict"].items()} == (
        dict.fromkeys(METRICS, 2)
    )
    records = [
        json.loads((folder / place / "training.json").read_text()) for place in ("model", "seeds/7")
    ]
    assert [record["training"]["seed"] for record in records] == [0, 7]
    losses = [record["best_val_loss"] for record in records]
    assert form["final_info_dict"]["best_val_loss"] == losses
    assert losses[0] != losses[1]

    fresh.configure(**training(other_seeds=[7, 8]))
    assert fresh.plan(RECORD) == {"train_model_seed": 1, "tabulate_seeds": 1}
