"""The conda environments, the requirements and the constraints name the same versions."""

import re
from pathlib import Path

import pytest
import yaml

ENVS = Path(__file__).parents[2] / "envs"
#: What conda-forge calls differently.
PYPI_NAMES = {"pytorch": "torch"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def pins(file: str) -> dict[str, str]:
    lines = (ENVS / file).read_text().splitlines()
    entries = [line.partition("#")[0].strip() for line in lines]
    pairs = [entry.split("==") for entry in entries if entry and not entry.startswith("-")]
    return {normal(name): version for name, version in pairs}


def conda_pins(file: Path) -> dict[str, str]:
    """Those of its section `pip`, which holds what conda-forge lacks, included."""
    entries = yaml.safe_load(file.read_text())["dependencies"]
    pip = [each for entry in entries if isinstance(entry, dict) for each in entry["pip"]]
    conda = [entry for entry in entries if isinstance(entry, str) and entry != "pip"]
    pairs = [*(each.split("==") for each in pip), *(each.split("=") for each in conda)]
    return {normal(PYPI_NAMES.get(name, name)): version for name, version in pairs}


def test_every_requirement_is_pinned():
    assert {"torch", "snakemake", "transformer-lens"} <= pins("requirements.txt").keys()
    assert pins("requirements.txt")["torch"] == "2.13.0"


@pytest.mark.parametrize("file", sorted(ENVS.glob("*.yaml")), ids=lambda file: file.name)
def test_conda_has_the_versions_of_pip(file):
    required = pins("requirements.txt")
    conda = conda_pins(file)
    assert conda.pop("python") in ("3.11", "3.12", "3.13")
    assert conda
    assert conda == {name: required.get(name) for name in conda}


def test_between_them_the_environments_have_every_requirement():
    found = set().union(*(conda_pins(file) for file in ENVS.glob("*.yaml")))
    assert found - {"python"} == pins("requirements.txt").keys()


def test_the_constraints_agree_with_the_requirements():
    required, constrained = pins("requirements.txt"), pins("constraints.txt")
    both = required.keys() & constrained.keys()
    assert both
    assert {name: constrained[name] for name in both} == {name: required[name] for name in both}
