"""Files that are complete or absent, and readers that name what is wrong with a file."""

import csv
import errno
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clustersae.runtime import written
from clustersae.runtime.errors import InputError

#: Bytes. The largest that are written here have a few MB; parsed, JSON may take 25 times as much.
LARGEST_JSON = 1 << 27
#: What to do with a damaged file that a job has written, and with one of somebody's model.
MADE = "Delete it and run again."
GIVEN = "Correct it, or fetch the model again."


@contextmanager
def replacing(path: str | Path, with_checksums: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it when the block succeeds.

    What it holds is remembered, so that damage is noticed; of a safetensors file `with_checksums`
    of all tensors in its header, only the header.

    A killed or failing writer never leaves a partial file under the real name; what it leaves is
    found by `remove_unfinished`. A full disk is reported as an InputError that names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A folder, since libraries put temporary files of their own beside what they write.
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True
        ) as folder:
            temporary = Path(folder, f"new{path.suffix}")
            yield temporary
            _set_default_mode(temporary)
            written.forget(path)
            os.replace(temporary, path)
            written.remember(path, with_checksums)
    except Exception as error:
        if _is_disk_full(error):
            raise InputError(
                f"No space left on the disk while writing {path}. Free some space, or write to"
                " another disk (snakemake --directory), and run again: finished files are kept."
            ) from error
        raise


def remove_unfinished(path: str | Path) -> None:
    """Remove what writers of `path` that were killed have left beside it."""
    path = Path(path)
    # As many characters as `tempfile` draws: those of `x.csv.gz` are none of `x.csv`.
    for folder in path.parent.glob(f".{glob.escape(path.name)}.{'?' * 8}/"):
        shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished_below(folder: Path) -> None:
    """The same of all files below a folder that nobody else writes to, whatever they are called."""
    for each in [*folder.rglob(f".*.{'?' * 8}/")]:
        shutil.rmtree(each, ignore_errors=True)


def _set_default_mode(path: Path) -> None:
    """Undo owner-only permissions of temporary files: results are for reading by others too."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors reports the operating system's error inside the message of its own exception.
    return "No space left on device" in str(error)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` under the keys of the first one; floats in full precision."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path: str | Path, remedy: str = MADE) -> Any:
    """The value in a JSON file.

    Args:
        remedy: for messages.

    Raises:
        InputError: the file is absent, damaged, no JSON, or larger than memory should be spent on.
    """
    path = Path(path)
    written.check([path])
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise InputError(
                f"{path} is no JSON file of this kind: it has over {LARGEST_JSON} bytes."
            )
        return parsed_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}). {remedy}") from None


def read_object(path: str | Path, remedy: str = MADE) -> dict[str, Any]:
    """The object in a JSON file, such as a config.json; errors as of `read_json`."""
    value = read_json(path, remedy)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object ({{...}}). {remedy}")
    return value


def parsed_json(text: str | bytes) -> Any:
    """The value of a JSON text by anybody.

    Raises:
        ValueError: with the reason in a few words; also for what Python refuses otherwise, such as
            ten thousand brackets or digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too deeply nested") from None
