"""The recipes of CONTRIBUTING.md: every diff applies to this code, and does what it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake_project import REPOSITORY

RECIPES = sorted((REPOSITORY / "docs" / "recipes").glob("*.diff"))
PARTS = ("Snakefile", "config.yaml", "pyproject.toml", "workflow", "envs", "tests")


def commands(recipe: Path) -> list[list[str]]:
    """What to run once the diff is applied: the lines above it that begin with `Run:`."""
    above = recipe.read_text(encoding="utf-8").partition("diff --git")[0]
    return [shlex.split(line) for line in re.findall(r"^Run: (.+)", above, re.MULTILINE)]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the repository, without results."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".snakemake")
            shutil.copytree(REPOSITORY / part, folder / part, ignore=ignored)
        else:
            shutil.copy2(REPOSITORY / part, folder / part)
    return folder


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_applies(recipe):
    check = ["git", "apply", "--check", str(recipe)]
    done = subprocess.run(check, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_applies_and_runs(recipe, checkout):
    environment = {
        **os.environ,
        "GIT_CEILING_DIRECTORIES": str(checkout.parent),  # no repository that this may lie in
        "PYTHONPATH": str(checkout / "workflow" / "scripts"),
    }

    def run(*command):
        result = subprocess.run(
            command,
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, f"{shlex.join(map(str, command))}\n{result.stdout}"

    run("git", "apply", str(recipe))
    assert commands(recipe)
    for program, *arguments in commands(recipe):
        run(sys.executable if program == "python" else program, *arguments)


def test_every_recipe_is_in_contributing():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"\(docs/recipes/([\w-]+\.diff)\)", text)
    assert sorted(named) == [recipe.name for recipe in RECIPES]
