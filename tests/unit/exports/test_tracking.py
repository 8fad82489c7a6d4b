"""What trackers get of a training: the rows of history.csv, and nothing where nobody asks."""

import os
import struct
import subprocess
import sys

import pandas as pd
import pytest
import track_training
from snakemake_project import REPOSITORY

from clustersae.runtime.files import write_csv, write_json

ROWS = [
    {
        **{"step": step, "activations": 128 * step, "fvu": 0.9 / step, "l0": 4.0},
        **{"dead_fraction": step / 1000, "learning_rate": 0.01, "activations_per_second": 640},
    }
    for step in (10, 20, 30)
]
ENDED = 1_800_000_000


@pytest.fixture
def sae(tmp_path):
    folder = tmp_path / "saes/base/0-2/seed-1"
    write_csv(folder / "history.csv", ROWS)
    os.utime(folder / "history.csv", (ENDED, ENDED))
    write_json(folder / "cfg.json", {"k": 4, "cluster": "0-2"})
    return folder


def events(folder):
    """What an event file holds: each record is its length, a checksum, itself and a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    [file] = folder.iterdir()
    content = file.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def test_tensorboard_gets_every_number_at_its_step_and_time(sae, tmp_path):
    track_training.main(sae, "tiny", "tensorboard", tmp_path / "tracking")
    found, text = [], b""
    for event in events(tmp_path / "tracking"):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.append((value.tag, event.step, value.simple_value, event.wall_time))
            else:
                text += value.SerializeToString()
    assert b'"cluster": "0-2"' in text
    frame = pd.DataFrame(found, columns=["tag", "step", "value", "time"])
    for name in ("fvu", "l0", "dead_fraction", "learning_rate", "activations_per_second"):
        rows = frame[frame["tag"] == f"training/{name}"]
        assert rows["step"].tolist() == [10, 20, 30]
        assert rows["value"].tolist() == pytest.approx([row[name] for row in ROWS], rel=1e-6)
        # 1,280 activations at 640 a second, each time
        assert rows["time"].tolist() == [ENDED - 4, ENDED - 2, ENDED]
    assert frame["tag"].nunique() == 5


def in_a_process(code, **environment):
    """As a job is: Weights & Biases keeps settings, and writes to the end when it exits."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom pathlib import Path\n{code}"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow/scripts"), **environment},
        capture_output=True,
        text=True,
    )


def in_weights_and_biases(sae, folder, **environment):
    pytest.importorskip("wandb")
    code = f"""
import track_training
track_training.main(Path({str(sae)!r}), "tiny", "wandb", Path({str(folder)!r}))
"""
    return in_a_process(code, **environment)


def test_weights_and_biases_gets_them_offline(sae, tmp_path):
    result = in_weights_and_biases(sae, tmp_path / "tracking", WANDB_MODE="offline")
    assert result.returncode == 0, result.stderr
    [file] = (tmp_path / "tracking").glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    for text in ("base/0-2/seed-1", "tiny", *(repr(row["fvu"]) for row in ROWS)):
        assert text.encode() in content
    assert [path.name for path in file.parent.glob("files/*")] == []  # nothing of the machine


def test_weights_and_biases_without_a_key_is_one_error(sae, tmp_path):
    result = in_weights_and_biases(
        sae, tmp_path / "tracking", WANDB_MODE="online", WANDB_API_KEY="", HOME=str(tmp_path),
        NETRC=str(tmp_path / "netrc"), WANDB_BASE_URL="http://127.0.0.1:1",
    )  # fmt: skip
    last = result.stderr.strip().splitlines()[-1]
    assert "InputError: Weights & Biases cannot begin a run" in last
    assert "Set WANDB_API_KEY, or WANDB_MODE=offline" in last


def test_no_tracker_is_imported_before_it_is_asked_for():
    result = in_a_process(
        "import clustersae.exports.tracking, track_training\n"
        "print(sorted({'wandb', 'tensorboardX', 'torch'} & sys.modules.keys()))"
    )
    assert result.stdout.strip() == "[]", result.stderr
