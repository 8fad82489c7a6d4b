"""One job for each window, of whose shards the others are absent, against one job with all."""

import math
import shutil
from pathlib import Path

import pytest
import torch
import train_sae
import train_sae_window
from killed import killed_after
from synthetic_shards import write_split, write_statistics
from test_train_sae import CONFIG, histories, same

from clustersae.experiment.windows import Windows, parts_of
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json
from clustersae.sae import training
from clustersae.sae.storage import load_sae
from clustersae.sae.training import Trainer

#: Six shards of about 256 tokens, not exactly as many as the configuration says.
ROWS = (260, 250, 270, 240, 255, 265)
WINDOWS = Windows(n_tokens=1536, n_shards=6, size=2)
#: Twelve batches: four in each window.
SHORT = CONFIG | {"training_tokens": 1536, "specialise": {"learning_rate": 0.002}}
#: What `Activations` of such a job are made of; the length of a start that reads to window 1.
ROOT = ("tokens-1of2", "0-2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("activations")
    paths = write_split(folder, rows=ROWS)
    return {
        "paths": paths,
        "statistics": write_statistics(folder / "statistics.safetensors", paths[:2]),
        "validation": write_split(folder, "validation", rows=(300,)),
        "cpu": [torch.device("cpu")],
    }


def at_once(data, folder, variant, name, config, start=None):
    train_sae.main(
        data["paths"], data["statistics"], folder, name, variant, 1, config, data["cpu"], "code",
        data["validation"], start, windows=vars(WINDOWS),
    )  # fmt: skip
    return load_sae(folder).state_dict()


class ByWindows:
    """The jobs of one SAE, in the order in which Snakemake runs them."""

    def __init__(self, data, folder, variant, name, config, start=None):
        self.data, self.folder, self.start = data, folder, start
        self.variant, self.name, self.config = variant, name, config
        self.windows = list(parts_of(WINDOWS, config, variant, name))

    def __call__(self, window):
        shards = [self.data["paths"][number] for number in WINDOWS.shards(window)]
        number = self.windows.index(window)
        before = self.place(self.windows[number - 1]) if number else None
        common = (shards, self.data["statistics"], self.folder, self.name, self.variant, 1)
        if window == self.windows[-1]:
            train_sae.main(
                *common, self.config, self.data["cpu"], "code", self.data["validation"],
                self.start, windows=vars(WINDOWS), before=before,
            )  # fmt: skip
        else:
            train_sae_window.main(
                *common, self.config, self.data["cpu"], "code", self.start, vars(WINDOWS), window,
                before, self.place(window), Path(f"{self.place(window)}.json"),
            )  # fmt: skip
        if before:
            shutil.rmtree(before)  # as temp() says

    def all(self):
        for window in self.windows:
            self(window)
        return load_sae(self.folder).state_dict()

    def place(self, window):
        return self.folder / "windows" / str(window)


@pytest.mark.parametrize(
    ("variant", "name", "windows", "reached"),
    [
        ("base", "1", [0, 1, 2], 1536),
        ("tokens-3of2", "0-2", [0, 1, 2, 3, 4], 2304),  # the stream begins again
        ("equal-exposure", "0-2", [0, 1, 2], 1536),
        ("mlsae-1of2", "0-2", [0, 1], 768),
        ("crosscoder-1of2", "0-2", [0, 1], 768),
        ("tokens-1of2@tokens-1of2", "1-2@0-2", [1, 2], 1536),
    ],
)
def test_the_bits_are_those_of_a_training_with_all_shards(
    data, tmp_path, variant, name, windows, reached
):
    start = None
    if "@" in name:
        start = tmp_path / "root"
        at_once(data, start, *ROOT, SHORT)
    whole = at_once(data, tmp_path / "whole", variant, name, SHORT, start)
    job = ByWindows(data, tmp_path / "legs", variant, name, SHORT, start)
    assert job.windows == windows
    assert same(job.all(), whole)
    assert histories(tmp_path / "whole") == histories(tmp_path / "legs")
    for file in ("cfg", "training"):
        one, other = (read_json(tmp_path / each / f"{file}.json") for each in ("whole", "legs"))
        keys = one.keys() if file == "cfg" else ("activations", "tokens_reached", "flops")
        assert {key: one[key] for key in keys} == {key: other[key] for key in keys}
    assert one["tokens_reached"] == reached
    left = {file.name for file in (tmp_path / "legs" / "windows").iterdir()}
    assert left == {f"{window}.json" for window in windows[:-1]}
    assert not list((tmp_path / "legs").glob("checkpoint-*"))


def test_learning_rates_are_chosen_as_with_all_shards(data, tmp_path):
    several = SHORT | {"learning_rate": [1e-7, 0.01], "max_dead": 0.0}
    whole = at_once(data, tmp_path / "whole", "base", "1", several)
    assert same(ByWindows(data, tmp_path / "legs", "base", "1", several).all(), whole)
    one, other = (read_json(tmp_path / each / "training.json") for each in ("whole", "legs"))
    assert one["learning_rate"] == 0.01
    for key in ("learning_rate", "validation_fvu", "validation_dead", "tuning_flops"):
        assert one[key] == other[key]


@pytest.mark.parametrize(("rows", "steps"), [(12, (2, 6)), (1, (4, 8))])
def test_rates_that_diverge_in_an_early_window_are_paid_for(
    data, tmp_path, monkeypatch, rows, steps
):
    """Noticed by a look at the loss after the step, or where the window's end is saved."""
    monkeypatch.setattr(training, "HISTORY_ROWS", rows)
    several = SHORT | {"learning_rate": [1e37, 0.05, 1e-3]}
    job = ByWindows(data, tmp_path, "base", "1", several)
    job(0)
    step = Trainer.step

    def step_then_diverge(trainer, batch):
        step(trainer, batch)
        if trainer.settings.learning_rate == 0.05 and trainer.step_number == 6:
            trainer.sums.fill_(math.nan)

    monkeypatch.setattr(Trainer, "step", step_then_diverge)
    job(1)
    job(2)
    first, second = (read_json(tmp_path / f"windows/{window}.json") for window in (0, 1))
    assert [each["learning_rate"] for each in first["trainings"]] == [0.05, 1e-3]
    assert [each["learning_rate"] for each in second["trainings"]] == [1e-3]
    assert [each["learning_rate"] for each in second["diverged"]] == [1e37, 0.05]
    assert first["diverged"] == second["diverged"][:1]
    assert all(each["seconds"] > 0 for each in second["diverged"])
    assert [each["share"] * 12 for each in second["diverged"]] == [*steps]
    record = read_json(tmp_path / "training.json")
    assert record["tuning_seconds"] == sum(each["seconds"] for each in second["diverged"])
    assert record["tuning_flops"] == pytest.approx(record["flops"] * sum(steps) / 12)


def test_what_a_window_came_to(data, tmp_path):
    job = ByWindows(data, tmp_path, "base", "1", SHORT)
    job(0)
    job(1)
    first, second = (read_json(tmp_path / f"windows/{window}.json") for window in (0, 1))
    assert [each["steps"] for each in (first, second)] == [4, 8]
    assert 0 < first["trainings"][0]["seconds"] < second["trainings"][0]["seconds"]
    assert second["trainings"][0]["fvu"] < first["trainings"][0]["fvu"]


@pytest.mark.parametrize("rates", [0.01, [0.01, 0.002]])
def test_a_job_killed_in_a_window_goes_on_there(data, tmp_path, monkeypatch, rates):
    config = SHORT | {"learning_rate": rates}
    undisturbed = at_once(data, tmp_path / "whole", "base", "1", config)
    job = ByWindows(data, tmp_path / "legs", "base", "1", config)
    job(0)
    killed_after(2, monkeypatch, lambda: job(1))
    assert not job.place(1).exists()
    job(1)
    killed_after(3, monkeypatch, lambda: job(2))
    job(2)
    assert same(load_sae(tmp_path / "legs").state_dict(), undisturbed)
    assert read_json(tmp_path / "legs" / "training.json")["resumed_at_step"] in (8, 11)


def test_a_damaged_or_foreign_checkpoint_is_refused_by_name(data, tmp_path):
    job = ByWindows(data, tmp_path / "a", "base", "1", SHORT)
    job(0)
    other = ByWindows(data, tmp_path / "b", "base", "1", SHORT | {"learning_rate": 0.001})
    other(0)
    shutil.rmtree(other.place(0))
    shutil.copytree(job.place(0), other.place(0))
    with pytest.raises(
        InputError, match=r"cannot go on: .*another configuration.*Delete the folder"
    ):
        other(1)
    file = job.place(0) / "checkpoint-0.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot go on: .*does not match.*Delete the folder"):
        job(1)


def test_shards_of_another_window_are_refused(data, tmp_path):
    job = ByWindows(data, tmp_path, "base", "1", SHORT)
    job.data = data | {"paths": data["paths"][2:] + data["paths"][:2]}
    with pytest.raises(InputError, match=r"Window 0 .* made of the shards 0 to 1, of which 0"):
        job(0)
