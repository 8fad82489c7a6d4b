"""Seeds of a language model: jobs of their own, and a table that needs nothing but them."""

import json

import pytest

from clustersae.pretraining.published import METRICS

FOLDER = "results/language_models/tiny"
RECORD = f"{FOLDER}/tables/seeds.json"
#: Of the model under study, and of the other seed.
PLACES = ("model", "seeds/7")


def training(**changes):
    return {"language_models": {"tiny": {"training": changes}}}


def test_without_a_record_there_is_one_training(fresh):
    jobs = fresh.plan()
    assert jobs["train_model"] == 1
    recorded = {"train_model_seed", "measure_generation", "tabulate_seeds"}
    assert not {*recorded, "figure_language_model"} & jobs.keys()


@pytest.mark.long
def test_every_seed_is_trained_and_the_table_names_them_all(fresh):
    fresh.configure(**training(record=True, other_seeds=[7], sampling="offsets"))
    whole = fresh.plan()
    assert (whole["train_model"], whole["train_model_seed"]) == (1, 1)
    assert (whole["measure_generation"], whole["measure_generation_seed"]) == (1, 1)
    assert (whole["tabulate_seeds"], whole["figure_language_model"]) == (1, 1)

    result = fresh.run(RECORD)
    folder = fresh.folder / FOLDER
    assert (folder / "tables/seeds.txt").read_text(encoding="utf-8") in result.stdout
    (form,) = json.loads((fresh.folder / RECORD).read_text()).values()
    assert {metric: len(values) for metric, values in form["final_info_dict"].items()} == (
        dict.fromkeys(METRICS, 2)
    )
    records = [json.loads((folder / place / "training.json").read_text()) for place in PLACES]
    assert [record["training"]["seed"] for record in records] == [0, 7]
    losses = [record["best_val_loss"] for record in records]
    assert form["final_info_dict"]["best_val_loss"] == losses
    assert losses[0] != losses[1]

    speeds = [json.loads((folder / place / "generation.json").read_text()) for place in PLACES]
    assert [speed["seed"] for speed in speeds] == [0, 7]
    assert speeds[0]["first_sample"] != speeds[1]["first_sample"]
    assert all(len(speed["first_sample"]) >= speed["n_tokens"] for speed in speeds)

    more = {"train_model_seed": 1, "measure_generation_seed": 1, "tabulate_seeds": 1}
    fresh.configure(**training(other_seeds=[7, 8]))
    assert fresh.plan(RECORD) == more
    # Measuring again how fast a model writes trains nothing.
    module = "workflow/scripts/clustersae/pretraining/generation.py"
    fresh.edit(module, "\n\n\n", "\n\nADDED = 1\n\n\n")
    assert fresh.plan(RECORD) == {**more, "measure_generation": 1, "measure_generation_seed": 2}
