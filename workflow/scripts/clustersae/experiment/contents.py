"""Digests of the files that an experiment reads: a file that was replaced is another one.

Time stamps do not tell: a copy may be older than what it replaces, and a touched file has not
changed. So params of rules hold SHA-256 over what the files contain. A large file is read once and
then known by its size, inode and the times that the file system keeps of it; of these nobody can
set back the time of the last change (ctime). What is known is kept beside Snakemake's own records.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from clustersae.runtime.files import parsed_json, write_json

#: Where digests of large files are remembered.
MEMORY = Path(".snakemake", "clustersae-digests.json")

#: Files of at least so many bytes are remembered; smaller ones are read every time.
LARGE = 1_000_000

#: A file that changed less than so many nanoseconds ago may change again and show the same times.
UNSETTLED = 2_000_000_000


def contents_digest(files: Iterable[str | Path], memory: Path = MEMORY) -> str | None:
    """Digest of the names and contents of `files`, in their order; None if there are none.

    Names are relative to the folder that holds all of them: a model that was moved is the same
    one. A file that is not there counts as such: whoever reads it says what is wrong.

    Args:
        memory: the JSON file that remembers large files.
    """
    paths = [Path(file).absolute() for file in files]
    if not paths:
        return None
    folder = os.path.commonpath([path.parent for path in paths])
    parts = [(str(path.relative_to(folder)), _digest(path, memory.absolute())) for path in paths]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _digest(file: Path, memory: Path) -> str | None:
    """SHA-256 of a file; None if it is not there."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    entries = _remembered(memory)
    name = str(file)
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    if name in entries and entries[name]["stamp"] == stamp:
        return entries[name]["sha256"]
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if status.st_size >= LARGE and time.time_ns() - status.st_ctime_ns > UNSETTLED:
        entries[name] = {"stamp": stamp, "sha256": digest}
        with contextlib.suppress(OSError):  # not allowed here: it is read again next time
            write_json(memory, entries)
    return digest


@cache
def _remembered(memory: Path) -> dict[str, dict]:
    """What earlier runs have learnt, to be added to; empty where there is no such file."""
    try:
        return dict(parsed_json(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
