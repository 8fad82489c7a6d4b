"""One real run of a tiny experiment, shared by the tests; those that change things get copies."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
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
    """The finished project and what Snakemake printed; for reading only."""
    project = Project.create(tmp_path_factory.mktemp("tiny") / "project", TINY)
    return project, project.run()


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
