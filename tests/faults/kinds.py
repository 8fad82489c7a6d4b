"""The faults: each hurts a running or stopped experiment at the moment when it is called."""

import os
import shutil
import signal
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil

from faults.watching import Started, outlived

#: Seconds in which jobs end by themselves after their Snakemake was killed: they see it when they
#: have imported what they need, which takes long on a busy machine.
GRACE = 180.0
DAY = 86_400


class Wound(NamedTuple):
    """What a fault did."""

    target: str
    ends: bool = False  # whether Snakemake is to end because of it
    seen: str = ""  # what was seen at once
    damaged: str = ""  # the file that no longer holds what was written
    held: bytes = b""  # what it held


class Unable(Exception):
    """There is nothing to hurt at this moment."""


def _job(run: Started, draw: Random) -> tuple:
    running = run.running()
    if not running:
        raise Unable
    return draw.choice(running)


def job_killed(run: Started, draw: Random, number: int = signal.SIGKILL) -> Wound:
    name, process = _job(run, draw)
    process.send_signal(number)
    return Wound(name, ends=True)


def job_terminated(run: Started, draw: Random) -> Wound:
    return job_killed(run, draw, signal.SIGTERM)


def _all_ended(jobs: list[psutil.Process]) -> str:
    """In words, that no job outlived Snakemake."""
    if left := outlived(jobs, GRACE):
        raise AssertionError(f"{left} jobs outlived Snakemake by {GRACE:.0f} s")
    return f"{len(jobs)} jobs ran and ended with it"


def snakemake_killed(run: Started, draw: Random) -> Wound:
    jobs = run.send(signal.SIGKILL)
    run.wait(60)
    return Wound("snakemake", ends=True, seen=_all_ended(jobs))


def snakemake_interrupted(run: Started, draw: Random) -> Wound:
    """As a terminal does it (all processes), or `kill -INT` of Snakemake alone."""
    to_all = draw.random() < 0.5
    jobs = run.send(signal.SIGINT, to_all)
    if not run.wait(600):
        raise AssertionError("Snakemake does not end when it is interrupted")
    return Wound("all, as Ctrl-C" if to_all else "snakemake", ends=True, seen=_all_ended(jobs))


def snakemake_terminated(run: Started, draw: Random) -> Wound:
    """It waits for its jobs, and ends."""
    jobs = run.send(signal.SIGTERM)
    if not run.wait(600):
        raise AssertionError("Snakemake does not end when it is terminated")
    if outlived(jobs, GRACE):
        raise AssertionError("jobs outlived a Snakemake that was to wait for them")
    return Wound("snakemake", ends=True, seen=f"{len(jobs)} jobs ran, which it waited for")


def disk_full(run: Started, draw: Random, folder: Path) -> Wound:
    """Not a byte is left on the file system of the experiment until Snakemake has ended."""
    name, _ = _job(run, draw)
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    run.wait(600)
    if not run.ended():
        raise AssertionError("Snakemake does not end on a full disk")
    ballast.unlink()
    return Wound(name, ends=True)


def damaged(file: Path, draw: Random) -> tuple[str, bytes]:
    """Flip bits of a file, cut it or empty it; with its old time stamps, or as written now."""
    held, status = file.read_bytes(), file.stat()
    if len(held) < 2:
        raise Unable
    how = draw.choice(("flipped", "flipped", "cut", "emptied"))
    if how == "flipped":
        changed = bytearray(held)
        for _ in range(draw.randint(1, 3)):
            # Low bits of digits and letters: what is still a number, and still text.
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(2)
        new = bytes(changed)
        if new == held:
            raise Unable
    else:
        new = held[: draw.randrange(1, len(held))] if how == "cut" else b""
    file.write_bytes(new)
    old = draw.random() < 0.5
    if old:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"{how}, {'old' if old else 'new'} time stamp", held


def clock_jumped(files: list[Path], draw: Random) -> Wound:
    """Some files are of tomorrow, or of last year."""
    if not files:
        raise Unable
    chosen = draw.sample(files, min(len(files), draw.randint(1, 4)))
    jump = draw.choice((DAY, -365 * DAY))
    for file in chosen:
        then = time.time() + jump
        os.utime(file, (then, then))
    return Wound(" ".join(map(str, chosen)), seen="future" if jump > 0 else "past")


def config_edited(folder: Path, draw: Random) -> Wound:
    """An edit while Snakemake runs, taken back after a moment."""
    file = folder / "config.yaml"
    before = file.read_text(encoding="utf-8")
    old, new = draw.choice((("k: 4", "k: 3"), ("seeds: [0]", "seeds: [1]"), ("d_sae: 32", "d: [")))
    assert old in before, f"config.yaml no longer holds {old!r}"
    file.write_text(before.replace(old, new), encoding="utf-8")
    time.sleep(draw.uniform(0.5, 4))
    file.write_text(before, encoding="utf-8")
    return Wound(f"{old} → {new} and back")


def second_snakemake(run: Started, folder: Path, printed: Path) -> Wound:
    """Another one in the same folder must refuse to start, and leave the first alone."""
    other = Started(folder, printed)
    give_up = time.monotonic() + 600
    while not other.wait(0.1):
        if run.ended():  # so that the other may have its place
            other.end()
            raise Unable
        if time.monotonic() > give_up:
            other.end()
            raise AssertionError("a second Snakemake runs in the same folder")
    text = other.text()
    if run.ended():
        raise Unable
    # What the first makes anew counts as incomplete, which Snakemake looks at before the lock.
    refusals = ("Directory cannot be locked", "IncompleteFilesException")
    refused = next((each for each in refusals if each in text), None)
    if other.process.returncode == 0 or refused is None:
        raise AssertionError(f"a second Snakemake was not refused: {text[-500:]}")
    return Wound("snakemake", seen=f"the second: {refused}")


def locks(folder: Path) -> dict[str, bytes]:
    """The lock files of a running Snakemake, to be put back when it has ended."""
    return {
        file.name: file.read_bytes()
        for file in (folder / ".snakemake" / "locks").glob("*")
        if file.is_file()
    }


def stale_lock(folder: Path, held: dict[str, bytes]) -> Wound:
    place = folder / ".snakemake" / "locks"
    if not held or any(place.glob("*")):
        raise Unable
    place.mkdir(parents=True, exist_ok=True)
    for name, content in held.items():
        (place / name).write_bytes(content)
    return Wound(", ".join(sorted(held)))


def deleted(folder: Path, name: str) -> list[str]:
    """Delete what a message asks for; the files that are gone."""
    path = folder / name
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    gone = [str(each.relative_to(folder)) for each in files]
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return gone
