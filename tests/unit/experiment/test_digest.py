"""A digest changes with the code that a script can reach, and with nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from clustersae.experiment import code_files
from clustersae.experiment.digest import files_below, script_digest

FILES = {
    "script.py": "from lib.a import f\nimport lib.pkg.c\n",
    "lib/__init__.py": "",
    "lib/a.py": "from . import b\n\ndef f():\n    return b.g()\n",
    "lib/b.py": 'def g():\n    """Say one."""\n    return 1\n',
    "lib/pkg/__init__.py": "",
    "lib/pkg/c.py": "from ..d import h\n",
    "lib/d.py": "import json\nh = 2\nSOURCES = ['step.h', 'step.c', 'absent.c']\n",
    "lib/step.c": "int one(void) { return 1; }\n",
    "lib/step.h": "typedef struct {\n    float x; /* a number */\n} Step;\n",
    "lib/unused.py": "x = 1\n",
}


def forget():
    """What files held: within one run of Snakemake none is edited."""
    files_below.cache_clear()


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
        ("lib/step.c", "int one(void) { return 2; }\n"),  # compiled by what is reached
        ("lib/step.h", "typedef struct {\n    double x; /* a number */\n} Step;\n"),
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
        ("lib/other.c", "int two(void) { return 2; }\n"),
        ("lib/step.c", "// one, /* twice\nint one(void)\n{   return 1; }\n"),
        ("lib/step.h", "typedef struct { float x; } Step;\n"),
    ],
)
def test_comments_docstrings_formatting_and_other_modules_do_not(project, name, text):
    assert not project(name, text)


def test_equal_code_in_another_place_is_another_digest(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    assert script_digest("a.py", tmp_path) != script_digest("b.py", tmp_path)


@pytest.mark.parametrize(
    ("names", "line", "again"),
    [
        (("run.py", "exports/card.py", "presentation/tables.py"), "x = 1", False),
        *(((f"sae/{name}",), "static int x = 1;", True) for name in ("step.h", "step.c", "topk.c")),
    ],
    ids=str,
)
def test_the_compiled_step_trains_saes_again_and_what_is_for_notebooks_does_not(
    tmp_path, names, line, again
):
    scripts, bytecode = Path(__file__).parents[3] / "workflow/scripts", "__pycache__"
    shutil.copytree(scripts, tmp_path / "scripts", ignore=shutil.ignore_patterns(bytecode))
    before = script_digest("train_sae.py", tmp_path / "scripts")
    for name in names:
        with open(tmp_path / "scripts/clustersae" / name, "a") as file:
            file.write(f"\n{line}\n")
    forget()
    assert (script_digest("train_sae.py", tmp_path / "scripts") != before) == again


@pytest.fixture
def memory(project, tmp_path, monkeypatch):
    """The file in which a first process leaves what it has found."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    script_digest("script.py", tmp_path)
    (file,) = (tmp_path / "__pycache__").iterdir()
    return file


def test_what_one_process_has_parsed_the_next_one_knows(project, memory, tmp_path, monkeypatch):
    before = script_digest("script.py", tmp_path)
    forget()
    monkeypatch.setattr(code_files, "parsed", None)
    assert script_digest("script.py", tmp_path) == before
    monkeypatch.undo()
    assert project("lib/b.py", "def g():\n    return 3\n")
    assert not project("lib/b.py", "def g():\n    return (3)\n")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": 1}', '{"a": ["b"]}', "\0\xff"])
def test_a_damaged_memory_is_made_anew(memory, tmp_path, damage):
    before, whole = script_digest("script.py", tmp_path), memory.read_bytes()
    memory.write_text(damage, encoding="latin-1")
    forget()
    assert script_digest("script.py", tmp_path) == before
    assert memory.read_bytes() == whole


def test_a_memory_that_has_grown_is_begun_anew(project, memory, tmp_path, monkeypatch):
    monkeypatch.setattr(code_files, "LARGEST", len(FILES) - 1)
    (tmp_path / "lib/b.py").write_text("x = 1\n")
    (tmp_path / "lib/d.py").write_text("x = 2\n")
    forget()
    script_digest("script.py", tmp_path)
    assert len(json.loads(memory.read_text())) == 2


def test_without_leave_to_write_nothing_is_kept(project, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert script_digest("script.py", tmp_path)
    assert not (tmp_path / "__pycache__").exists()
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (tmp_path / "__pycache__").write_text("a file where the folder would be")
    forget()
    assert script_digest("script.py", tmp_path)


def test_a_file_that_is_no_python_is_named(project, tmp_path):
    (tmp_path / "lib/b.py").write_text("def g(:\n")
    forget()
    with pytest.raises(SyntaxError, match=r"b\.py"):
        script_digest("script.py", tmp_path)
