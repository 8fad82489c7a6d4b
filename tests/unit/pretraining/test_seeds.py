"""The record of a language model's seeds, in the published form and beside the published run."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from drawn_texts import title_of
from figure_language_model import main as figure_language_model
from tabulate_seeds import main as tabulate_seeds
from tabulate_trainings import main as tabulate_trainings

from clustersae.pretraining import figure as language_model
from clustersae.pretraining.published import MEANS, METRICS, PER_SEED
from clustersae.pretraining.seeds import across, beside_published, learning_curves, published_form
from clustersae.runtime.errors import InputError


def record(values, steps=(250, 500, 750), losses=(1.9, 1.5, 1.6), estimates=True):
    """A training.json, as far as these tables read it."""
    curve = [
        {
            **{"step": step, "train_loss": loss, "validation_loss": loss, "learning_rate": 1e-3},
            "train_split_loss": loss - 0.2 if estimates else None,
        }
        for step, loss in zip(steps, losses)
    ]
    logged = {"step": [10, 20, 750], "loss": [4.0, 3.0, 1.3]}
    return {
        **dict(zip(METRICS, values)),
        **{"curve": curve, "train_losses": logged, "device_name": "cpu"},
    }


RUN_0 = [record(values) for values in zip(*PER_SEED["shakespeare_char"])]


def test_the_published_numbers_come_out_of_the_published_seeds():
    """Means and std/n as they were printed, in the published form."""
    form = published_form("shakespeare_char", RUN_0)["shakespeare_char"]
    assert list(form["final_info_dict"]) == list(METRICS)
    assert form["final_info_dict"]["best_val_loss"] == [1.4680, 1.4784, 1.4616]
    printed = {
        **{"final_train_loss": (0.8084, 0.0046), "best_val_loss": (1.4693, 0.0023)},
        **{"total_train_time": (301.4, 3.76)},
        **{"avg_inference_tokens_per_second": (476.8, 2.28)},
    }
    for metric, (mean, error) in printed.items():
        assert form["means"][f"{metric}_mean"] == pytest.approx(mean, rel=2e-4)
        # Within the rounding of what was printed.
        assert form["stderrs_published_way"][f"{metric}_stderr"] == pytest.approx(error, rel=0.01)
    # The standard error of the mean, by hand.
    values = [0.8239, 0.7903, 0.8109]
    mean = sum(values) / 3
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 2 / 3)
    assert form["stderrs"]["final_train_loss_stderr"] == pytest.approx(error)


def test_one_seed_has_no_standard_error():
    form = published_form("text8", [record((0.99, 0.98, 100.0, 900.0))])
    assert set(form["text8"]["stderrs"].values()) == {None}
    table = beside_published(form, "text8").set_index("metric")
    assert table["std_over_sqrt_n"].isna().all()
    assert table.loc["total_train_time", "ratio"] == pytest.approx(100 / 2351.5)
    assert table.loc["total_train_time", "published_mean"] == MEANS["text8"][2]
    assert table["published_std_over_n"].isna().all()


def test_ratios_are_one_where_the_published_run_is_repeated():
    table = beside_published(published_form("shakespeare_char", RUN_0), "shakespeare_char")
    assert np.allclose(table["ratio"], 1, atol=2e-4)
    assert np.allclose(table["std_over_n"], table["published_std_over_n"])
    assert np.allclose(table["std_over_sqrt_n"], table["published_std_over_sqrt_n"])
    alone = beside_published(published_form("mine", RUN_0))
    assert alone[["published_mean", "ratio"]].isna().all(axis=None)


def test_losses_on_another_text_stand_beside_nothing():
    form = published_form("enwik8 (on another text)", [record((0.9, 0.1, 400.0, 2000.0))])
    table = beside_published(form, "enwik8", of_same_text=False).set_index("metric")
    assert table["ratio"].isna().tolist() == [True, True, False, False]
    assert table["published_mean"].isna().tolist() == [True, True, False, False]
    assert table.loc["total_train_time", "ratio"] == pytest.approx(400 / 2372.0)


def test_a_record_without_a_figure_is_named():
    with pytest.raises(InputError, match="no avg_inference_tokens_per_second"):
        published_form("mine", [record((0.9, 1.5, 100.0, None))])


def test_curves_hold_every_loss_of_every_seed():
    table = learning_curves([(1337, RUN_0[0]), (1338, record((1, 2, 3, 4), estimates=False))])
    counts = table.groupby(["seed", "kind"]).size().to_dict()
    assert counts == {
        **{(1337, "batch"): 3, (1337, "train"): 3, (1337, "validation"): 3},
        **{(1338, "batch"): 3, (1338, "validation"): 3},
    }
    best = table[(table["kind"] == "validation") & (table["seed"] == 1337)]
    assert best["loss"].tolist() == [1.9, 1.5, 1.6]


def test_the_scripts_write_what_they_say(tmp_path):
    paths = {}
    for seed, each in zip((1337, 1338, 1339), map(dict, RUN_0)):
        speed = {key: each.pop(key) for key in METRICS if "inference" in key}
        speed["device_name"] = "a GPU" if seed > 1337 else "cpu"
        paths[seed] = tmp_path / f"training-{seed}.json", tmp_path / f"generation-{seed}.json"
        for path, part in zip(paths[seed], (each, speed)):
            path.write_text(json.dumps(part))
    outputs = [tmp_path / name for name in ("form.json", "table.csv", "text.txt", "curves.csv")]
    tabulate_seeds(paths, "shakespeare_char", "shakespeare_char", True, *outputs)
    assert list(json.loads(outputs[0].read_text())) == ["shakespeare_char"]
    assert len(pd.read_csv(outputs[1])) == len(METRICS)
    text = outputs[2].read_text()
    assert text.startswith("shakespeare_char: 3 seeds on cpu, writing on cpu, a GPU\n")
    (row,) = (line for line in text.splitlines() if line.startswith("best validation loss"))
    assert row.split()[-5:] == ["0.0049", "0.0023", "1.4693", "0.0023", "1"]
    svg, png = tmp_path / "a.svg", tmp_path / "a.png"
    figure_language_model(str(outputs[3]), "shakespeare_char", "mine", str(svg), str(png))
    assert svg.read_text().rstrip().endswith("</svg>")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_the_figure_marks_the_best_of_every_seed_and_says_what_came_after():
    curves = learning_curves(list(enumerate(RUN_0)))
    figure = language_model.draw(curves, "mine", published_loss=1.4693)
    assert title_of(figure) == (
        "Best validation loss 1.5000 at step 500; then it rose to 1.6000, and the best model is"
        " kept"
    )
    lines = {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}
    assert lines["best, and kept"].tolist() == [[500, 1.5]] * 3
    assert lines["best of the published run, 1.4693"][0][1] == 1.4693
    falling = record((1, 1, 1, 1), losses=(1.9, 1.7, 1.6), estimates=False)
    alone = language_model.draw(learning_curves([(7, falling)]), "mine")
    assert title_of(alone) == "Best validation loss 1.6000 at step 750"
    low, high = alone.axes[0].get_ylim()
    assert low < 1.3
    assert high > 1.9


def test_one_seed_has_no_error_of_either_kind():
    form = published_form("enwik8", [record(MEANS["enwik8"])])["enwik8"]
    assert set(form["stderrs"].values()) == set(form["stderrs_published_way"].values()) == {None}
    assert beside_published({"enwik8": form}, "enwik8")["std_over_n"].isna().all()


def test_tables_of_several_corpora_become_one(tmp_path):
    forms, tables = [], []
    for number, corpus in enumerate(("enwik8", "text8", "text8")):
        form = published_form(corpus, [record(MEANS[corpus])])
        forms.append(tmp_path / f"{number}.json")
        forms[-1].write_text(json.dumps(form))
        tables.append(tmp_path / f"{number}.csv")
        beside_published(form, corpus).to_csv(tables[-1], index=False)
    models = ["a", "b", "c"]
    tabulate_trainings(forms, tables, models, tmp_path / "all.json", tmp_path / "all.csv")
    assert list(json.loads((tmp_path / "all.json").read_text())) == [
        *("enwik8", "text8 (b)", "text8 (c)")
    ]
    whole = pd.read_csv(tmp_path / "all.csv")
    assert whole["model"].tolist() == [model for model in models for _ in METRICS]
    assert np.allclose(whole["ratio"], 1)
    assert across([], []) == {}
