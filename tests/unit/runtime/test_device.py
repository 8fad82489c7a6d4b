"""Which GPU a job takes: processes that claim devices of a list that stands in for GPUs."""

import subprocess
import sys

import pytest
import torch
from snakemake_project import REPOSITORY

from clustersae.runtime import claims, device

CLAIMER = """
import sys
from clustersae.runtime.claims import claim
print(claim(sys.argv[2:], sys.argv[1]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claimer(tmp_path):
    """Start a process that claims one of the named devices and holds it; it ends with the test."""
    running = []

    def start(*names):
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIMER, tmp_path, *names],
            env={"PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return int(process.stdout.readline()), process

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_jobs_take_different_devices_and_give_them_back_however_they_end(claimer):
    first, process = claimer("0", "1")
    second, _ = claimer("0", "1")
    assert (first, second) == (0, 1)
    process.kill()
    process.wait()
    assert claimer("0", "1")[0] == 0


def test_more_jobs_than_devices_share_them_evenly(claimer):
    assert [claimer("0", "1")[0] for _ in range(5)] == [0, 1, 0, 1, 0]


def test_a_job_of_several_devices_takes_none_twice(claimer, tmp_path):
    names = ("0", "1", "2", "3")
    assert [claimer(*names)[0] for _ in range(2)] == [0, 1]
    assert sorted(claims.different(names, 4, tmp_path)) == [0, 1, 2, 3]


def test_a_device_is_the_same_one_in_every_list(claimer):
    """Of two jobs, the scheduler has given one the devices 0 and 1, and one 1 and 2."""
    assert claimer("0", "1")[0] == 0
    assert claimer("1", "2")[0] == 0  # 1
    assert claimer("0", "1")[0] == 0  # both are taken once: 0 is shared
    assert claimer("1", "2")[0] == 1  # 2


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("", 2, ["0", "1"]),
        ("2,3", 2, ["2", "3"]),
        ("GPU-8a1e, GPU-77f0", 2, ["GPU-8a1e", "GPU-77f0"]),
        ("0,1,-1,2", 2, ["0", "1"]),
        ("3", 2, ["0", "1"]),
        ("../x,MIG-1/2", 2, ["x", "MIG-12"]),
    ],
)
def test_devices_are_named_as_the_scheduler_does(monkeypatch, visible, count, names):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert claims.names_of(count) == names


@pytest.mark.parametrize("gpus", [0, 1])
def test_without_a_gpu_it_is_the_cpu(monkeypatch, gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose(gpus) == torch.device("cpu")


def test_a_job_works_on_the_device_that_it_claims(monkeypatch, tmp_path):
    """The current device is set to it, so that streams, graphs and pinned memory are its own."""
    chosen = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.setattr(claims.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(claims, "_claims", [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert [device.choose(1).index for _ in range(4)] == [0, 1, 2, 0]
    assert chosen == [0, 1, 2, 0]
    assert device.choose(0) == torch.device("cpu")
