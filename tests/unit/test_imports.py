"""The packages of the library lie in layers, and what needs no torch imports none."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "workflow" / "scripts" / "clustersae"
#: Lowest first; the folder of each holds what its name says and imports nothing from a later one.
ORDER = (
    *("runtime", "experiment", "statistics", "corpora", "models", "activations", "clustering"),
    *("sae", "latents", "presentation", "cost", "setup", "quality", "exports"),
    *("correspondence", "transfer", "circuits", "features", "probing", "browser"),
    *("answer", "report"),
)
#: Questions that can be removed, each with its folder and its file of rules.
QUESTIONS = ("correspondence", "transfer", "circuits", "features", "probing", "browser")
#: Training language models: nothing else knows of it.
APART = "pretraining"


def imports(package: str) -> set[tuple[str, str]]:
    """(file, package that it imports), within functions and for type checkers as well."""
    found = set()
    for file in sorted((LIBRARY / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{file} imports relative to itself"
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            for module in modules:
                first, _, rest = module.partition(".")
                other = rest.partition(".")[0]
                if first == LIBRARY.name and other != package and (LIBRARY / other).is_dir():
                    found.add((str(file.relative_to(LIBRARY)), other))
    return found


def test_every_package_has_its_place():
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages == {*ORDER, APART}


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_from_those_below_it(package):
    below = ORDER[: ORDER.index(package)]
    against = {each for each in imports(package) if each[1] not in below}
    assert sorted(against) == []


@pytest.mark.parametrize("package", [*ORDER, APART])
def test_nothing_imports_from_a_question_so_that_it_can_be_removed(package):
    found = {each for each in imports(package) if each[1] in QUESTIONS}
    assert sorted(found) == []


def test_tables_figures_and_texts_need_no_torch():
    kinds = ("figure*", "tabulate", "text")
    found = [path for kind in kinds for path in LIBRARY.glob(f"*/{kind}.py")]
    modules = [f"{LIBRARY.name}.{path.parent.name}.{path.stem}" for path in found]
    assert len(modules) > 25
    modules += ["draw", "report_page", "verdict", "write_tables"]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    scripts = {"PYTHONPATH": str(LIBRARY.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=scripts)
