"""What caching and each SAE really cost, collected from the records of the jobs."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json

COLUMNS = (
    *("kind", "variant", "cluster", "seed", "split", "shard", "seconds", "wall_seconds"),
    *("job_seconds", "tuning_seconds", "tuning_flops", "peak_memory_mb", "peak_gpu_memory_mb"),
    *("flops", "activations", "n_tokens", "tokens_reached", "device"),
)


def cost_rows(
    caching: Iterable[tuple[Path, Path]],
    saes: Iterable[tuple[Path, Path]],
    pilots: Iterable[tuple[Path, Path]] = (),
    windows: Iterable[Path] = (),
) -> list[dict[str, Any]]:
    """One row per caching job and per trained SAE, with the keys of COLUMNS.

    `seconds` are those of the work itself, on the processor that does it; `job_seconds` the
    elapsed time of the whole job, start-up included, by Snakemake's benchmark.

    Args:
        caching: (record, benchmark) of every training shard; the record lies beside the shard.
        saes: (record, benchmark) of every SAE; the record is training.json in the SAE's folder.
        pilots: the same of the short trainings that `arms.auto` was settled by.
        windows: benchmarks of jobs that trained an SAE in a window before its last.
    """
    earlier: dict[str, float] = {}
    for each in windows:
        sae = _folder(each.parent)
        earlier[sae] = earlier.get(sae, 0.0) + job_seconds(each)
    rows = []
    for record, benchmark in caching:
        shard = record.stem.removeprefix("shard-")
        place = {"kind": "caching", "split": "train", "shard": shard}
        rows.append(_row(place, read_json(record), benchmark))
    trained = [("sae", each) for each in saes] + [("pilot", each) for each in pilots]
    for kind, (record, benchmark) in trained:
        config = read_json(record.parent / "cfg.json")
        place = {"kind": kind} | {key: config[key] for key in ("variant", "cluster", "seed")}
        row = _row(place, read_json(record), benchmark)
        row["job_seconds"] += earlier.get(_folder(benchmark.with_suffix("")), 0.0)
        rows.append(row)
    return rows


def _folder(path: Path) -> str:
    """What a benchmark's path says of the SAE: variant, name and seed."""
    return "/".join(path.parts[-3:])


def _row(place: Mapping[str, Any], record: Mapping[str, Any], benchmark: Path) -> dict[str, Any]:
    known = {key: record[key] for key in COLUMNS if key in record}
    empty = dict.fromkeys(COLUMNS, "")
    return {**empty, **known, **place, "job_seconds": job_seconds(benchmark)}


def job_seconds(benchmark: Path) -> float:
    """Elapsed seconds of a job, from the file that Snakemake's `benchmark:` wrote."""
    try:
        with open(benchmark, newline="", encoding="utf-8") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError) as error:
        raise InputError(
            f"{benchmark} is not a Snakemake benchmark ({error!r}). Delete it together with the"
            " outputs of its job, and run again."
        ) from None
