"""Two small experiments as they came out once: every SAE's bits, and the tables.

Bits hold on a machine of the same kind and with the same torch; elsewhere roundings differ, and
training makes much of them, so there only the mean FVU of the arms is held against the record.
To record anew, after a change that is meant to change numbers:

    python tests/recorded_results.py results/toy tests/oracle/recorded/toy
"""

import csv
import hashlib
import json
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

#: Tables that are kept; training.csv and circuit_curves.csv say in more rows what these say.
TABLES = (
    *("arms", "comparisons", "layer_quality", "correspondence", "latent_density"),
    *("tasks", "circuits", "features", "feature_meaning", "feature_coverage"),
)
#: Columns that name a row: the recorded and the new table are compared row by row.
NAMES = {
    *("arm", "against", "partition", "variant", "method", "role", "split", "layer", "seed", "task"),
    *("errors", "ablation", "cluster", "kind", "factor", "group", "usable", "reason"),
    *("other_layer", "distance", "matching", "log10_density_low", "control"),
}
#: Columns of measured costs, and of choices by margins that a configuration sets.
FREE = ("cost", "seconds", "memory", "relative", "chosen", "dominated", "within_margins")


def machine() -> str:
    """What decides roundings: processor, its instructions as torch uses them, torch."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{cpu or platform.processor()}, {instructions}, torch {torch.__version__}"


def sae_digests(results: Path) -> dict[str, str]:
    """`{variant}/{name}/seed-{seed}` → digest of the names, shapes and bits of its tensors."""
    found = {}
    for file in sorted(results.glob("saes/*/*/seed-*/sae.safetensors")):
        digest = hashlib.sha256()
        for name, tensor in sorted(load_file(file).items()):
            digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        found[str(file.parent.relative_to(results / "saes"))] = digest.hexdigest()[:16]
    return found


def record(results: Path, folder: Path) -> None:
    """Keep what a finished run has come to."""
    folder.mkdir(parents=True, exist_ok=True)
    saes = {"machine": machine(), "saes": sae_digests(results)}
    (folder / "saes.json").write_text(json.dumps(saes, indent=1) + "\n", encoding="utf-8")
    for name in TABLES:
        if (results / f"tables/{name}.csv").is_file():
            (folder / f"{name}.csv").write_bytes((results / f"tables/{name}.csv").read_bytes())


def same_machine(folder: Path) -> bool:
    return json.loads((folder / "saes.json").read_text())["machine"] == machine()


def changed_saes(results: Path, folder: Path) -> list[str]:
    """SAEs whose bits are not the recorded ones; those that are there only once included."""
    old, new = json.loads((folder / "saes.json").read_text())["saes"], sae_digests(results)
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _rows(file: Path, columns: list[str]) -> dict[tuple[str, ...], dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return {tuple(row[c] for c in columns): row for row in csv.DictReader(handle)}


def changed_cells(results: Path, folder: Path, tolerance: float = 1e-6) -> list[str]:
    """Cells of recorded tables that are not the same number any more, as sentences.

    Columns that are there only once are left out, since they may be renamed; rows are not.
    """
    changes = []
    for file in sorted(folder.glob("*.csv")):
        other = results / "tables" / file.name
        header = set(pd.read_csv(file, nrows=0)) & set(pd.read_csv(other, nrows=0))
        names = sorted(header & NAMES)
        old, new = _rows(file, names), _rows(other, names)
        for key in old.keys() ^ new.keys():
            changes.append(f"{file.name}: {dict(zip(names, key))} is only in one")
        measured = sorted(c for c in header - NAMES if not any(word in c for word in FREE))
        for key in sorted(old.keys() & new.keys()):
            for column in measured:
                one, two = old[key][column], new[key][column]
                if one != two and not _close(one, two, tolerance):
                    changes.append(f"{file.name}: {dict(zip(names, key))} {column}: {one} → {two}")
    return changes


def _close(one: str, two: str, tolerance: float) -> bool:
    try:
        return bool(np.isclose(float(one), float(two), rtol=tolerance, atol=tolerance))
    except ValueError:
        return False


if __name__ == "__main__":
    record(Path(sys.argv[1]), Path(sys.argv[2]))
