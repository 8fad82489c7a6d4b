"""One real run of a tiny experiment, shared by the tests; those that change things get copies."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from snakemake_project import TINY, Project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session")
def first_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """The finished project and what Snakemake printed; for reading only.

    Several workers of pytest-xdist share one: the first to come makes it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    place, printed = folder / "tiny" / "project", folder / "tiny.txt"
    with FileLock(folder / "tiny.lock"):
        if not printed.is_file():
            if place.exists():  # another worker has tried and failed
                pytest.fail("the tiny experiment could not be run; see the first failure")
            printed.write_text(Project.create(place, TINY).run().stdout, encoding="utf-8")
    output = printed.read_text(encoding="utf-8")
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
