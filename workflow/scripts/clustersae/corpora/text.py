"""Streams of documents: text files, JSON Lines and the `datasets` library."""

import asyncio
import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clustersae.runtime.errors import InputError

CHUNK_BYTES = 1 << 20

#: Libraries whose exceptions mean that a transfer failed; some derive from no common class.
_TRANSFER_LIBRARIES = {
    *("aiohttp", "fsspec", "httpcore", "httpx", "huggingface_hub", "requests", "urllib3")
}


def text_pieces(path: str | Path) -> Iterator[str]:
    """The text of a UTF-8 file in pieces of about a megabyte, cut anywhere.

    Raises:
        InputError: the file is absent, a directory, empty or not UTF-8 (naming the byte).
    """
    path = _existing_file(path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with open(path, "rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            read += len(chunk)
            try:
                piece = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                offset = read - len(error.object) + error.start
                raise InputError(
                    f"{path} is not UTF-8 text (byte {offset}: {error.reason}). Convert it, e.g."
                    f" with iconv -f latin1 -t utf-8 {path.name}."
                ) from None
            if piece:
                yield piece
            if not chunk:
                return


def text_documents(files: Iterable[str | Path], separator: str | None) -> Iterator[str]:
    """The documents of text files, in order.

    With a `separator` a file is read as a stream, cut at every separator; blank documents are
    left out. Without one a file is one document, and in memory as a whole.
    """
    for path in files:
        if not separator:
            yield "".join(text_pieces(path))
            continue
        waiting = ""
        for piece in text_pieces(path):
            *finished, waiting = (waiting + piece).split(separator)
            yield from (document for document in finished if document.strip())
        if waiting.strip():
            yield waiting


def jsonl_documents(files: Iterable[str | Path], field: str) -> Iterator[str]:
    """The strings under `field` of files with one JSON object per line; blank lines are skipped.

    Raises:
        InputError: a line is no JSON object or lacks the field, named by file and line number.
    """
    for path in files:
        waiting, number = "", 0
        for piece in _with_end(text_pieces(path)):
            *lines, waiting = (waiting + piece).split("\n")
            for line in lines:
                number += 1
                if line.strip():
                    yield _json_field(line, field, f"{path}, line {number}")


def dataset_documents(
    dataset: str, split: str, field: str, subset: str | None = None, revision: str | None = None
) -> Iterator[str]:
    """The strings in column `field` of a dataset on the Hugging Face hub or in a local directory.

    The dataset is streamed, unless it is a directory that `save_to_disk` wrote.

    Raises:
        InputError: the dataset, its split or the column cannot be found, or a download fails.
    """
    rows = _named_errors(dataset, _dataset_rows(dataset, split, subset, revision))
    for number, row in enumerate(rows):
        text = row.get(field)
        if not isinstance(text, str):
            raise InputError(
                f"Row {number} of dataset {dataset} has no text in column {field!r}. Its columns"
                f" are {', '.join(row)}: set corpus.field to one that holds text."
            )
        yield text


def _dataset_rows(
    dataset: str, split: str, subset: str | None, revision: str | None
) -> Iterator[dict[str, Any]]:
    import datasets  # takes seconds to import, and only this source needs it

    path = Path(dataset)
    if (path / "state.json").is_file():
        yield from datasets.load_from_disk(dataset)
    elif (path / "dataset_dict.json").is_file():
        yield from datasets.load_from_disk(dataset)[split]
    else:
        yield from datasets.load_dataset(
            dataset, name=subset, split=split, revision=revision, streaming=True
        )


def _named_errors(dataset: str, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass `rows` through; what goes wrong in the library becomes one line with a remedy."""
    try:
        yield from rows
    except (KeyError, ValueError, FileNotFoundError) as error:
        raise InputError(
            f"Dataset {dataset} cannot be read ({_one_line(error)}): check corpus.dataset,"
            " corpus.subset, corpus.split and corpus.revision."
        ) from error
    except Exception as error:
        if not _is_transfer_error(error):
            raise
        raise InputError(
            f"Reading dataset {dataset} was interrupted ({_one_line(error)}). Check the network"
            " and run again, or download it once (hf download --repo-type dataset) and give the"
            " directory as corpus.dataset."
        ) from error


def _is_transfer_error(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0]
    transfer = OSError | asyncio.TimeoutError | EOFError
    return isinstance(error, transfer) or library in _TRANSFER_LIBRARIES


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _existing_file(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a directory: list its files in corpus.files.")
    if not path.is_file():
        raise InputError(f"{path} does not exist: correct corpus.files.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: remove it from corpus.files.")
    return path


def _with_end(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces and a final line break, so that the last line ends too."""
    yield from pieces
    yield "\n"


def _json_field(line: str, field: str, place: str) -> str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not valid JSON ({error.msg}). Correct or remove it.") from None
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        fields = ", ".join(record) if isinstance(record, dict) else "none: it is no object"
        raise InputError(
            f"{place}: no text under {field!r} (its fields: {fields}). Set corpus.field."
        )
    return record[field]
