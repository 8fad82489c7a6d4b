"""What jobs of train_sae spend on anything but training: would one job for several SAEs be faster?

    python tests/benchmarks/job_overhead.py results/MODEL … --output docs/results/bench/jobs.csv

reads Snakemake's benchmarks of finished runs and the SAEs' own records, all in processor seconds.
Asserts nothing.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path


def jobs(folder: Path) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(variant, SAE) → for each seed, seconds of the whole job and of its trainings."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    marks = folder.parent / "benchmarks" / folder.name / "train_sae"
    for record in sorted(folder.glob("saes/*/*/seed-*/training.json")):
        variant, sae, seed = record.parts[-4:-1]
        mark = marks / variant / sae / f"{seed}.tsv"
        training = json.loads(record.read_text())
        if not mark.exists() or training["resumed_at_step"]:
            continue
        (job,) = csv.DictReader(mark.read_text().splitlines(), delimiter="\t")
        if job["cpu_time"] == "NA":  # shorter than Snakemake's interval of looking
            continue
        trained = training["cpu_seconds"] + training["tuning_seconds"]
        found.setdefault((variant, sae), []).append((float(job["cpu_time"]), trained))
    return found


def row(folder: Path) -> dict[str, object]:
    """What one job for all seeds of an SAE would save, and one for everything."""
    found = jobs(folder)
    everything = [each for seeds in found.values() for each in seeds]
    beside = statistics.median(job - trained for job, trained in everything)
    total = sum(job for job, _ in everything)
    saved = beside * (len(everything) - len(found))
    return {
        "model": folder.name,
        "jobs": len(everything),
        "saes": len(found),
        "median_job_s": f"{statistics.median(job for job, _ in everything):.3g}",
        "median_beside_training_s": f"{beside:.3g}",
        "saved_by_one_job_for_all_seeds": f"{saved / total:.3f}",
        "saved_by_one_job_for_all": f"{beside * (len(everything) - 1) / total:.3f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    rows = [row(folder) for folder in given.models]
    with given.output.open("w", newline="") as out:
        table = csv.DictWriter(out, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print(given.output.read_text())


if __name__ == "__main__":
    main()
