"""What a run took, added up by hand; versions and machine."""

from importlib import metadata

import numpy as np
import pandas as pd

import clustersae
from clustersae.report import facts


def test_work_is_added_up_by_kind_and_device():
    rows = [
        ("caching", "cpu", np.nan, 2.0, np.nan, 5.0, 100.0),
        ("caching", "cpu", np.nan, 3.0, np.nan, 6.0, 300.0),
        ("sae", "cpu", 1000, 7.0, 1.0, 9.0, 200.0),
        ("sae", "cuda", 1000, 1.0, 0.5, 4.0, 400.0),
        ("sae", "cuda", 500, 2.0, 0.0, 4.0, 100.0),
    ]
    names = ("kind", "device", "activations", "seconds", "tuning_seconds", "job_seconds")
    work = facts.work(pd.DataFrame(rows, columns=[*names, "peak_memory_mb"]))
    assert work["job"].tolist() == ["caching activations", "training SAEs", "training SAEs"]
    assert work["jobs"].tolist() == [2, 1, 2]
    assert work["seconds"].tolist() == [5.0, 7.0, 3.0]
    assert np.isnan(work["activations"][0])
    assert work["activations"][1:].tolist() == [1000, 1500]
    assert work["elapsed seconds, start included"].tolist() == [11.0, 9.0, 8.0]
    assert work["peak memory (MB)"].tolist() == [300.0, 200.0, 400.0]


def test_versions_are_those_installed_and_what_is_not_is_left_out(monkeypatch):
    found = facts.versions()
    assert found["clustersae"] == clustersae.__version__
    assert found["pandas"] == pd.__version__

    def version(name):
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(facts.metadata, "version", version)
    assert "torch" not in facts.versions()


def test_the_processor_is_named(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fast One\n" * 2)
    assert facts._processor(tmp_path / "cpuinfo") == "A Fast One"
    assert facts._processor(tmp_path / "none")
    assert facts.machine()["processors"].isdecimal()
