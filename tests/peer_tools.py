"""The other tools, each in an environment of its own that knows nothing of this project."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(name: str) -> Path:
    """The interpreter of `make .{name}/installed`, or what CLUSTERSAE_{NAME}_PYTHON says."""
    default = ROOT / f".{name}" / "bin" / "python"
    return Path(os.environ.get(f"CLUSTERSAE_{name.upper()}_PYTHON", default))


INTEROP, SAEBENCH = python("interop"), python("saebench")
needs_interop = pytest.mark.skipif(not INTEROP.is_file(), reason="needs make .interop/installed")
needs_saebench = pytest.mark.skipif(not SAEBENCH.is_file(), reason="needs make .saebench/installed")


def run(*command: str | Path, **changes: str) -> None:
    """In an environment without this project's modules, but for those that `changes` names."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment | changes, timeout=600)
