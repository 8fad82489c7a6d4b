"""Shards that do not stay: the SAEs of a run that keeps them, and never too many on the disk."""

import hashlib
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from snakemake_project import Project

pytestmark = pytest.mark.long

#: Three windows of two shards; `mlsae` reads two of them, `specialised` goes on in the second.
ACTIVATIONS = {"tokens": {"train": 3000}, "shard_tokens": 500, "window": 2}
ARMS = {
    **{"shared": {"counts": [2]}, "equal_exposure": [2], "mlsae": [0.5]},
    "specialised": [{"from": 1, "budgets": [0.3]}],
}
#: What needs every SAE and nothing else that takes time.
TARGET = "results/tiny/evaluation/cost.csv"
RUN = ("--cores", "2", "--resources", "gpu=0")


def project(first_run, folder, **activations) -> Project:
    own = first_run[0].copy(folder)
    own.configure(activations=ACTIVATIONS | activations, arms=ARMS, sae={"training_tokens": 3000})
    return own


class Watcher(threading.Thread):
    """The windows that have shards on the disk, as often as one can look."""

    def __init__(self, own: Project) -> None:
        super().__init__(daemon=True)
        self.folder = own.folder / "results/tiny/activations/stream"
        self.seen: set[frozenset[int]] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            shards = list(self.folder.glob("*/*.safetensors"))
            self.seen.add(frozenset(int(shard.parent.name) for shard in shards))
            time.sleep(0.005)

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.join()


def digests(own: Project) -> dict[str, str]:
    folder = own.folder / "results/tiny/saes"
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("sae.safetensors"))
    }


def killed(own: Project, when: str) -> None:
    """Kill Snakemake with all its jobs as soon as a file is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *RUN, "--", TARGET],
        cwd=own.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + 600
    while not (own.folder / when).exists() and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(5)  # its jobs notice, and end


@pytest.fixture(scope="module")
def streamed(first_run, made_once):
    """A run that was killed when the first SAE had read window 1, and ended by another.

    The project, the sets of windows that were seen on the disk, and the records (file → time of
    change) that were there when it was killed.
    """

    def make(place):
        own = project(first_run, place, keep=False)
        with Watcher(own) as watcher:
            killed(own, "results/tiny/saes/base/1/seed-0/windows/1.json")
            records = {
                str(file): file.stat().st_mtime_ns
                for file in (own.folder / "results/tiny/saes").rglob("windows/*.json")
            }
            unlocked = own.snakemake("--unlock")
            assert unlocked.returncode == 0, unlocked.stdout
            ended = own.snakemake(*RUN, "--rerun-incomplete", "--", TARGET)
            assert ended.returncode == 0, ended.stdout
        return list(map(sorted, watcher.seen)), records

    place, (seen, records) = made_once("streamed", make)
    return Project(place), {frozenset(each) for each in seen}, records


def test_saes_are_those_of_a_run_that_keeps_its_shards(first_run, streamed, tmp_path):
    kept = project(first_run, tmp_path / "kept")
    kept.run(TARGET)
    expected = digests(kept)
    variants = {name.split("/")[0] for name in expected}
    assert {"base", "equal-exposure", "mlsae-1of2"} < variants
    assert any("@0-2/" in name for name in expected)
    assert digests(streamed[0]) == expected


def test_at_no_time_are_more_windows_on_the_disk_than_two_and_the_first(streamed):
    own, seen, _ = streamed
    assert {frozenset({1}), frozenset({2})} & seen
    assert max(map(len, seen)) <= 2
    activations = own.folder / "results/tiny/activations"
    assert len(list(activations.glob("train/*.safetensors"))) == 2
    assert list(activations.glob("stream/*/*.safetensors")) == []
    assert list(own.folder.glob("results/tiny/saes/**/checkpoint-*")) == []


def test_finished_windows_are_not_trained_again(streamed):
    _, _, records = streamed
    again = [file for file, stamp in records.items() if Path(file).stat().st_mtime_ns != stamp]
    # Of a job that ended between its last line and the kill, Snakemake does not know.
    assert len(again) <= 2 < len(records)


def test_a_second_run_has_nothing_to_do(streamed):
    assert streamed[0].plan(TARGET) == {}


def test_another_budget_trains_its_own_saes_alone(streamed, tmp_path):
    own = streamed[0].copy(tmp_path / "more")
    before = digests(own)
    own.configure(arms={"per_layer": [1, 0.6]})
    result = own.run(TARGET)
    trained = re.findall(r"Train the SAE of layers (\S+) of tiny \((\S+),", result.stdout)
    assert set(trained) == {(str(layer), "tokens-3of5") for layer in range(3)}
    # 1,800 tokens are two windows, of which the second is not read to its end.
    assert len(trained) == 3 * 2
    assert result.stdout.count("Cache the activations of tiny: window 1") == 2
    assert "window 2, shard" not in result.stdout
    assert before.items() <= digests(own).items()
