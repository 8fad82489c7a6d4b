"""What files held when they were written: one that was damaged since is refused by name.

Tables and JSON carry no checksum, as shards of activations do. So
`.snakemake/clustersae-written/{path}` has SHA-256 of every file that jobs have written, beside
Snakemake's own records; of a file with checksums in its header, of the header. These may be
deleted: then nothing is compared. Small files are read at every comparison; a large one only where
its size, inode or times are no longer the same, and if it still holds the same, these are noted:
Snakemake dates whatever a job has made, and hundreds of jobs read the weights of a model.

Snakemake asks as well, where a time stamp makes a file look newer than what was made from it.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from clustersae.runtime.errors import InputError

#: Snakemake's folder, and ours in it.
SNAKEMAKE = Path(".snakemake")
RECORDS = SNAKEMAKE / "clustersae-written"

#: Bytes; files above are known by their stamp, since Snakemake asks after every job that read them.
LARGE = 1 << 20

#: What jobs read again; the many pieces of a page are not.
SUFFIXES = {".csv", ".json", ".jsonl", ".parquet", ".safetensors", ".svg", ".txt"}


WHOLE, HEADER = "whole", "header"


class _Record(NamedTuple):
    kind: str  # what the digest is of: WHOLE or HEADER
    sha256: str
    stamp: str  # size, times of the last change of content and of anything, inode


def remember(path: Path, header: bool = False) -> None:
    """Note what the file holds, if this process runs where Snakemake does.

    Args:
        header: it is a safetensors file whose header has checksums of all else.
    """
    record = _place(path)
    if record is None or path.suffix not in SUFFIXES or not SNAKEMAKE.is_dir():
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    kind = HEADER if header else WHOLE
    _note(record, _Record(kind, _sha256(path, kind), _stamp(path)))


def _note(place: Path, record: _Record) -> None:
    new = place.with_name(f"{place.name}.{os.getpid()}.new")  # several jobs may note one file
    new.write_text("\n".join(record), encoding="utf-8")
    os.replace(new, place)


def forget(path: Path) -> None:
    """To be called before a file is replaced: a writer killed in between leaves no false record."""
    record = _place(path)
    if record is not None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            record.unlink()


def digest(path: Path) -> str | None:
    """SHA-256 of a file that was written here, or of its header; None for others, and none."""
    return _digest(path, _read(path))


def sha256(path: Path) -> str:
    """SHA-256 of all that a file holds, which is read only where no record says it."""
    record = _read(path)
    known = _digest(path, record) if record and record.kind == WHOLE else None
    return known or _sha256(path, WHOLE)


def _digest(path: Path, record: _Record | None) -> str | None:
    if record is None or not path.is_file():
        return None
    stamp, is_large = _stamp(path), path.stat().st_size > LARGE
    if is_large and stamp == record.stamp:
        return record.sha256
    found = _sha256(path, record.kind)
    place = _place(path)
    if is_large and found == record.sha256 and place and _read(path) == record:
        with contextlib.suppress(OSError):  # not allowed here: it is read again next time
            _note(place, record._replace(stamp=stamp))
    return found


def check(paths: Iterable[str | Path]) -> None:
    """Compare files with what was written; those without a record, or absent, are passed over.

    Raises:
        InputError: one holds something else.
    """
    for path in map(Path, paths):
        record = _read(path)
        found = _digest(path, record)
        if record and found and found != record.sha256:
            raise InputError(
                f"{path} is damaged: it no longer holds what was written to it. Delete it and run"
                " again."
            )


def date_no_later_than(now: float) -> None:
    """Give files that a wrong clock has dated after `now` (seconds since 1970) that date.

    Snakemake would fail every job that reads them, as its outputs are older.
    """
    for record in RECORDS.rglob("*"):
        path = record.relative_to(RECORDS)
        if path.is_file() and path.stat().st_mtime > now:
            os.utime(path, (now, now))


def _place(path: Path) -> Path | None:
    """Where the record of a file lies; None for a file outside the working directory."""
    relative = os.path.relpath(path)
    return None if relative.startswith(os.pardir) else RECORDS / relative


def _read(path: Path) -> _Record | None:
    record = _place(path)
    try:
        lines = record.read_text(encoding="utf-8").splitlines() if record else []
    except (OSError, UnicodeDecodeError):
        return None
    return _Record(*lines) if len(lines) == 3 else None


def _sha256(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        if kind == WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        # Eight bytes with the length of what follows; a damaged one may say anything.
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), path.stat().st_size)
        told = f"{path.stat().st_size} ".encode() + start + file.read(length)
        return hashlib.sha256(told).hexdigest()


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
