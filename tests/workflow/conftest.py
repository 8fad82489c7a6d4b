"""One real run of a tiny experiment, shared by the tests; those that change things get copies."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from snakemake_project import TINY, Project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Any]]:
    """Make a folder that several workers of pytest-xdist share: the first to come fills it.

    It is called with a name and the function that fills the folder; gives the folder and what the
    function returned, by way of JSON.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def made(name: str, make: Callable[[Path], Any]) -> tuple[Path, Any]:
        place, told = base / name / "project", base / f"{name}.json"
        with FileLock(base / f"{name}.lock"):
            if not told.is_file():
                if place.exists():  # another worker has tried and failed
                    pytest.fail(f"{name} could not be made; see the first failure")
                told.write_text(json.dumps(make(place)), encoding="utf-8")
        return place, json.loads(told.read_text(encoding="utf-8"))

    return made


@pytest.fixture(scope="session")
def first_run(made_once) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """The finished project and what Snakemake printed; for reading only."""
    place, output = made_once("tiny", lambda place: Project.create(place, TINY).run().stdout)
    return Project(place), subprocess.CompletedProcess([], 0, stdout=output)


@pytest.fixture
def finished(first_run, tmp_path: Path) -> Project:
    """A copy of the finished project, to change at will."""
    return first_run[0].copy(tmp_path / "finished")


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """The project before its first run."""
    return Project.create(tmp_path / "fresh", TINY)


@pytest.fixture
def refused(fresh: Project) -> Callable[..., str]:
    """Dry-run the fresh project, which must fail before any job, and give what it says."""

    def refused(*arguments: str) -> str:
        result = fresh.snakemake("-n", *arguments)
        assert result.returncode == 1, result.stdout
        assert not (fresh.folder / "results").exists()
        return result.stdout

    return refused
