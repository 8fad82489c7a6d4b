"""Hurt a small experiment at random moments, follow the documentation, and compare what comes out.

    PYTHONPATH=workflow/scripts:tests python -m faults.inject --log docs/results/faults/faults.csv

A run takes one seed; a log that exists is added to, so that an interrupted injector goes on with
the next seed. At SIGUSR1 it injects no more and sees the run to its end. On Linux with permission
to mount, every experiment lies on a file system of its own, which can be filled; elsewhere there is
no full disk.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, fields
from pathlib import Path

from snakemake_project import REPOSITORY, Project

from faults import experiment
from faults.session import Row, Session, Stuck

CONFIG = REPOSITORY / "tests" / "configs" / "faults.yaml"
#: Set in the process that may mount.
_ALONE = "FAULTS_MOUNT_NAMESPACE"
_NAMESPACE = ("unshare", "--map-root-user", "--mount")
#: Bytes of the file system of one experiment.
SIZE = 192 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--faults", type=int, default=200, help="how many the log is to hold")
    parser.add_argument("--per-run", type=int, default=40, help="at most, in one experiment")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--log", type=Path, required=True, help="table, one row per fault")
    parser.add_argument("--reference", type=Path, help="a finished project of the same experiment")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--folder", type=Path, help="where to work; kept for looking at")
    given = parser.parse_args()
    # Shells have processes in the background ignore it, and those would have theirs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _ALONE not in os.environ and _may_mount():
        command = [*_NAMESPACE, sys.executable, "-m", "faults.inject", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, _ALONE: "1"}).returncode
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        return inject(given, given.folder)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        return inject(given, Path(folder))


def inject(given: argparse.Namespace, folder: Path) -> int:
    """Run after run until the log holds enough; 0 if every fault was mended as documented."""
    reference = given.reference or folder / "reference"
    if not reference.is_dir():
        _say("the undisturbed run")
        experiment.create(reference.with_suffix(".part"), given.config).run()
        reference.with_suffix(".part").rename(reference)
    readers = experiment.readers(reference)
    wrong = 0
    known = logged(given.log)
    seed = max([given.seed - 1, *(int(row["seed"]) for row in known)]) + 1
    while (left := given.faults - len(logged(given.log))) > 0:
        wrong += one_run(given, folder, reference, readers, seed, min(left, given.per_run))
        seed += 1
    return int(wrong > 0)


def one_run(
    given: argparse.Namespace,
    folder: Path,
    reference: Path,
    readers: dict[str, set[str]],
    seed: int,
    n_faults: int,
) -> int:
    """One experiment; how much of it did not end as it should."""
    disk = folder / f"run-{seed}"
    printed = folder / "printed"
    printed.mkdir(exist_ok=True)
    shutil.rmtree(disk, ignore_errors=True)  # of an injector that was killed
    disk.mkdir()
    mounted = _ALONE in os.environ
    if mounted:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True
        )
    try:
        project: Project = experiment.create(disk / "project", reference / "config.yaml")
        session = Session(project, readers, seed, n_faults, printed, mounted, _say)
        signal.signal(signal.SIGUSR1, lambda *_: session.spare())
        try:
            rows = session.run()
            wrong = experiment.differences(
                reference, project.folder, folder / f"recorded-{seed}", session.ledger.unneeded()
            )
        except (Stuck, AssertionError) as error:
            rows, wrong = session.rows, [str(error)]
        wrong += [f"made again: {each}" for each in session.redone]
        wrong += session.unexplained
        wrong += [f"{row.number}: {row.outcome}" for row in rows if "NOT" in row.outcome]
        for text in wrong:
            _say(f"WRONG in run {seed}: {text}")
        end = "as undisturbed" if not wrong else f"{len(wrong)} WRONG: {wrong[0]}"
        _say(f"run {seed}: {len(rows)} faults, {session.starts} starts, {end}")
        append(given.log, rows, end)
        if wrong and mounted:
            shutil.copytree(disk, folder / f"wrong-{seed}", ignore_dangling_symlinks=True)
        return len(wrong)
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=False)
        shutil.rmtree(disk, ignore_errors=True)


def logged(log: Path) -> list[dict[str, str]]:
    if not log.is_file():
        return []
    with log.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(log: Path, rows: list[Row], end: str) -> None:
    """Add the faults of a run; `end` says what the whole run came to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    new = not log.is_file()
    with log.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*(each.name for each in fields(Row)), "run"])
        if new:
            writer.writeheader()
        writer.writerows({**asdict(row), "run": end} for row in rows)


def _may_mount() -> bool:
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(
            [*_NAMESPACE, "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True
        ).returncode
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
