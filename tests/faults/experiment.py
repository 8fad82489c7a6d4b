"""A small experiment to hurt, what undisturbed runs of it come to, and how the two are compared."""

import base64
import json
import re
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

import recorded_results
from snakemake_project import Project

#: Files that hold measured times or what was chosen by them: two undisturbed runs differ there.
MEASURED = (
    *("logs/*", "benchmarks/*", "*/report.html", "*/model/training.json", "*/generation.json"),
    *("*/activations/*.json", "*/saes/*/training.json", "*/saes/*/history.csv"),
    *("*/evaluation/cost.csv", "*/tables/cost.csv", "*/tables/arms.csv", "*/tables/training.csv"),
    *("*/tables/summary.csv", "*/tables/comparisons.csv", "*/tables/layers.csv"),
    *("*/tables/verdict*", "*/figures/*cost*", "*/figures/summary.*"),
    *("*/figures/training_curves.*", "*/figures/specialise.*"),
)


def create(folder: Path, config: Path) -> Project:
    """The project, whose Snakemake names rule, inputs and outputs of every job it starts."""
    project = Project.create(folder, config)
    for file in (folder / "workflow").rglob("*"):
        if file.name == "Snakefile" or file.suffix == ".smk":
            text = file.read_text(encoding="utf-8")
            # In place of these, a rule's own message is printed.
            text = re.sub(r"^    message:\n(?:        .*\n)+", "", text, flags=re.MULTILINE)
            file.write_text(text, encoding="utf-8")
    return project


def readers(finished: Path) -> dict[str, set[str]]:
    """File → outputs of the jobs that read it, from Snakemake's records of a finished run."""
    found: dict[str, set[str]] = {}
    for record in (finished / ".snakemake" / "metadata").rglob("*"):
        if record.is_file():
            told = json.loads(record.read_text(encoding="utf-8"))
            names = record.relative_to(finished / ".snakemake" / "metadata").parts
            output = base64.urlsafe_b64decode("".join(part.lstrip("@") for part in names)).decode()
            for file in told["input"]:
                found.setdefault(file, set()).add(output)
    return found


def differences(
    reference: Path, found: Path, scratch: Path, unneeded: Collection[str] = ()
) -> list[str]:
    """What is not as in the reference: files, bits of SAEs, cells of tables that hold no times.

    Args:
        unneeded: outputs of jobs that were interrupted and are not needed any more: they may be
            absent, and a checkpoint may lie where they were.
    """
    names = [
        {str(path.relative_to(each)) for path in each.rglob("*")}  # what is hidden as well
        for each in (reference / "results", found / "results")
    ]
    present = reference / "results"
    absent = {
        name
        for name in names[0] - names[1]
        if not all(
            f"results/{path.relative_to(present)}" in unneeded
            for path in (present / name, *(present / name).rglob("*"))
            if path.is_file()
        )
    }
    left = {str(Path(name).parent) for name in unneeded}
    more = {
        name
        for name in names[1] - names[0]
        if not (
            fnmatch(name, "*/checkpoint*.safetensors") and f"results/{Path(name).parent}" in left
        )
    }
    told = [f"{name} is only in one" for name in sorted(absent | more)]
    for name in sorted(names[0] & names[1]):
        if (found / "results" / name).is_dir() or any(
            fnmatch(name, pattern) for pattern in MEASURED
        ):
            continue
        if (reference / "results" / name).read_bytes() != (found / "results" / name).read_bytes():
            told.append(f"{name} differs")
    for model in sorted(path.parent.name for path in (reference / "results").glob("*/plan.json")):
        recorded_results.record(reference / "results" / model, scratch)
        told += recorded_results.changed_saes(found / "results" / model, scratch)
        told += recorded_results.changed_cells(found / "results" / model, scratch, tolerance=0.0)
    return told
