"""A digest changes with the code that a script can reach, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from clustersae.experiment.digest import _imported, _parsed, script_digest

FILES = {
    "script.py": "from lib.a import f\nimport lib.pkg.c\n",
    "lib/__init__.py": "",
    "lib/a.py": "from . import b\n\ndef f():\n    return b.g()\n",
    "lib/b.py": 'def g():\n    """Say one."""\n    return 1\n',
    "lib/pkg/__init__.py": "",
    "lib/pkg/c.py": "from ..d import h\n",
    "lib/d.py": "import json\nh = 2\n",
    "lib/unused.py": "x = 1\n",
}


def forget():
    """What files held: within one run of Snakemake none is edited."""
    _parsed.cache_clear()
    _imported.cache_clear()


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    forget()

    def change(name, text):
        before = script_digest("script.py", tmp_path)
        (tmp_path / name).write_text(text)
        forget()
        return before != script_digest("script.py", tmp_path)

    return change


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("script.py", "from lib.a import f\nf()\n"),
        ("lib/a.py", "from . import b\n\ndef f():\n    return b.g() + 1\n"),
        ("lib/b.py", "def g():\n    return 2\n"),  # reached by a relative import
        ("lib/d.py", "h = 3\n"),  # reached from a subpackage
        ("lib/pkg/__init__.py", "y = 1\n"),  # run on import of the package
    ],
)
def test_code_that_the_script_reaches_counts(project, name, text):
    assert project(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lib/unused.py", "x = 2\n"),
        ("lib/b.py", 'def g():\n    """Say one."""\n\n    # one\n    return (1)\n'),
        ("lib/b.py", 'def g():\n    """Say it differently."""\n    return 1\n'),
        ("lib/new.py", "z = 1\n"),
    ],
)
def test_comments_docstrings_formatting_and_other_modules_do_not(project, name, text):
    assert not project(name, text)


def test_equal_code_in_another_place_is_another_digest(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    assert script_digest("a.py", tmp_path) != script_digest("b.py", tmp_path)


def test_what_is_for_notebooks_trains_no_sae_again(tmp_path):
    scripts = Path(__file__).parents[3] / "workflow/scripts"
    shutil.copytree(scripts, tmp_path / "scripts")
    before = script_digest("train_sae.py", tmp_path / "scripts")
    for name in ("run.py", "exports/card.py", "presentation/tables.py"):
        with open(tmp_path / "scripts/clustersae" / name, "a") as file:
            file.write("\nx = 1\n")
    forget()
    assert script_digest("train_sae.py", tmp_path / "scripts") == before
