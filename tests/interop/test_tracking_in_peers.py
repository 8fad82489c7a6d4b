"""TensorBoard itself reads what is written for it."""

import json

import pandas as pd
import pytest
from peer_tools import INTEROP, ROOT, needs_interop, run

from clustersae.exports.tracking import Training, write_tensorboard

pytestmark = [pytest.mark.long, needs_interop]


def test_tensorboard_reads_the_history(tmp_path):
    history = pd.DataFrame(
        {
            **{"step": [5, 10], "activations": [640, 1280], "fvu": [0.5, 0.25], "l0": [4.0, 4.0]},
            **{"dead_fraction": [0, 0.125], "learning_rate": [0.5, 1.0]},
            "activations_per_second": [1000, 2000],
        }
    )
    folder = tmp_path / "tracking/base/0/seed-0"
    write_tensorboard(folder, Training("tiny", "base/0/seed-0", {"k": 4}, history, 1.8e9))
    run(INTEROP, ROOT / "tests/interop/read_events.py", folder, tmp_path / "found")
    found = json.loads((tmp_path / "found").read_text())
    assert found["training/fvu"] == [[5, 0.5], [10, 0.25]]
    assert found["training/dead_fraction"] == [[5, 0.0], [10, 0.125]]
    assert len(found) == 5
