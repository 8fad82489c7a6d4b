"""What the command for a GPU writes down beside its figures, and how much it decides to train."""

import time
from types import SimpleNamespace

import pytest
import torch
from gpu import affordable
from gpu.card import Sampler
from gpu.record import DONE, Record

#: As nvidia-smi answers: one figure that the driver does not report, and a line that is cut off.
ANSWER = """#!/bin/sh
echo "100.5, 1200, 2619, 5000, [N/A]"
echo "300.5, 1980, 2619, 7000, [N/A]"
printf 900
exec sleep 60
"""


@pytest.fixture
def peak(tmp_path, monkeypatch):
    """A pretended card: sets and gives the most memory of its tensors, in MiB."""
    held = SimpleNamespace(mib=0)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(ANSWER)
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: held.mib << 20)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: setattr(held, "mib", 0))
    return held


def watched(folder, before, peak, *jobs):
    """What a call finds whose jobs set the peak back when they begin, as `Meter` does."""
    with Sampler(folder, torch.device("cuda"), before) as sampler:
        for mib in jobs:
            torch.cuda.reset_peak_memory_stats()
            peak.mib = mib
        ends = time.monotonic() + 30
        while time.monotonic() < ends:  # until the pretended driver has answered
            files = list(folder.glob("*.csv"))
            if files and all(each.read_text().endswith("900") for each in files):
                break
            time.sleep(0.01)
        return sampler.found()


def test_peaks_power_and_clocks_are_of_all_jobs_and_calls(tmp_path, peak):
    first = watched(tmp_path / "samples", {}, peak, 700, 30)
    assert first["peak_gpu_memory_mb"] == 700
    assert first["watts"] == {"least": 100.5, "median": 200.5, "largest": 300.5}
    assert first["sm_mhz"]["largest"] == 1980
    assert "celsius" not in first, "the driver does not report it"
    again = watched(tmp_path / "samples", first, peak, 40)
    assert again["peak_gpu_memory_mb"] == 700
    assert again["watts"]["largest"] == 300.5, "a line that was cut off counts in no file"
    assert len(list((tmp_path / "samples").iterdir())) == 2


def test_what_is_watched_is_written_with_every_figure(tmp_path):
    record = Record(tmp_path / "record.json")
    uses = iter(range(10))
    record.watching["use"] = lambda: next(uses)
    record.add("times", "one", 1.5)
    record.add("times", "two", 2.5)
    found = Record(tmp_path / "record.json").content
    assert found == {"times": {"one": 1.5, "two": 2.5}, "use": 1}


@pytest.mark.parametrize(("goes_on", "done"), [(None, True), ("2 of 8 seeds", False)])
def test_a_stage_of_which_seeds_lack_goes_on_in_the_next_call(tmp_path, goes_on, done):
    record = Record(tmp_path / "record.json")
    record.put(status=DONE, goes_on=goes_on)
    assert record.done is done


#: One SAE that chooses among three rates, and one that starts from it and has one.
SAES = [
    {"variant": "base", "training_tokens": 2000},
    {"variant": "tokens-1of2@base", "training_tokens": 1000},
]
SETTINGS = {
    **{"training_tokens": 2000, "batch_size": 100},
    **{"learning_rate": [0.1, 0.2, 0.3], "specialise": {"learning_rate": 0.1}},
}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    # 2 seeds: 2000 · (1 + 3) + 1000 · (1 + 1) = 10,000 activations, at 1,000 in a second: 10 s.
    [(10, 2000), (20, 4000), (5.26, 1000), (1, 500), (1000, 8000)],
)
def test_as_many_activations_as_fit_in_the_time(seconds, expected):
    asked = {"seeds": 2, "seconds": seconds, "between": [500, 8000]}
    found = affordable.affordable(SAES, SETTINGS, 1e-3, asked)
    assert found["training_tokens"] == expected
    assert found["activations_per_second"] == pytest.approx(1000)
