"""Streams of documents: text files, JSON Lines and the `datasets` library."""

import asyncio
import codecs
import io
import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clustersae.experiment.texts import AS_DATASET, ENCODINGS, check_unpacked, is_encoding
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json

CHUNK_BYTES = 1 << 20
PIECE_CHARACTERS = 1 << 20  # of a long document, that are handed on at once

#: Libraries whose exceptions mean that a transfer failed; some derive from no common class.
_TRANSFER_LIBRARIES = {
    *("aiohttp", "fsspec", "httpcore", "httpx", "huggingface_hub", "requests", "urllib3")
}


class Continued(str):
    """A piece of text that goes on with the document of the piece before it."""

    __slots__ = ()


def text_pieces(path: str | Path, encoding: str = "utf-8") -> Iterator[str]:
    """The text of a file in pieces of about a megabyte, cut anywhere; lines end in "\\n".

    A byte-order mark says better than `encoding` what follows, and is left out.

    Raises:
        InputError: the file is absent, a directory, empty, compressed or not of that encoding
            (naming the byte), or there is no such encoding.
    """
    path = _existing_file(path)
    read = 0
    encoding = encoding_of(path, encoding)
    with open(path, "rb") as file:
        decoder = _decoder(encoding)
        lines = io.IncrementalNewlineDecoder(None, translate=True)
        while True:
            chunk = file.read(CHUNK_BYTES)
            if not read:
                _check_no_wide_characters(path, encoding, chunk)
            read += len(chunk)
            try:
                piece = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                offset = read - len(error.object) + error.start
                name = "UTF-8" if encoding in ("utf-8", "utf-8-sig") else encoding
                raise InputError(
                    f"{path} is not {name} text (byte {offset}: {error.reason}). Name its encoding"
                    " in corpus.encoding (latin-1, say), or convert it, e.g. with"
                    f" iconv -f latin1 -t utf-8 {shlex.quote(path.name)}."
                ) from None
            piece = lines.decode(piece, final=not chunk)
            if piece:
                yield piece
            if not chunk:
                return


def text_documents(
    files: Iterable[str | Path], separator: str | None, encoding: str = "utf-8"
) -> Iterator[str]:
    """The documents of text files, in order.

    With a `separator` a file is cut at every one, and blank documents are left out; without, a
    file is one document. Documents of any length come in bounded memory, see `pieces_of`.

    Raises:
        InputError: a file cannot be read, or the separator occurs in none.
    """
    separator = (separator or "").replace("\r\n", "\n").replace("\r", "\n")
    files = list(files)
    found = False
    for path in files:
        waiting, begun = "", False
        for piece in text_pieces(path, encoding):
            waiting += piece
            if separator:
                *finished, waiting = waiting.split(separator)
                for document in finished:
                    found = True
                    yield from _pieces(document, begun)
                    begun = False
            while len(waiting) > PIECE_CHARACTERS + len(separator):
                end = _place_to_cut(waiting)
                head, waiting = waiting[:end], waiting[end:]
                yield Continued(head) if begun else head
                begun = True
        yield from _pieces(waiting, begun)
    if separator and not found:
        raise InputError(
            f"corpus.separator {json.dumps(separator)} does not occur in"
            f" {', '.join(map(str, files))}: correct it, or write null if each file is"
            " one document."
        )


def pieces_of(document: str) -> Iterator[str]:
    """A document as it is or, where it is long, in pieces that are tokenised one by one.

    They are cut at a line end, or else at a blank, so that hardly a token changes.
    """
    begun = False
    while len(document) > PIECE_CHARACTERS:
        end = _place_to_cut(document)
        yield Continued(document[:end]) if begun else document[:end]
        document, begun = document[end:], True
    yield Continued(document) if begun else document


def _pieces(document: str, begun: bool) -> Iterator[str]:
    """The end of a document that has begun, or a whole one unless it is blank."""
    if begun and document:
        yield from map(Continued, pieces_of(document))
    elif document.strip():
        yield from pieces_of(document)


def _place_to_cut(text: str) -> int:
    """Where a piece of at most PIECE_CHARACTERS ends: after a line, before blanks, or there.

    Never between blanks: tokenizers join them.
    """
    limit = end = PIECE_CHARACTERS
    while (end := text.rfind("\n", limit // 2, end)) > 0:
        if not text[end - 1].isspace() and not text[end + 1].isspace():
            return end + 1
    for place in range(limit, limit // 2, -1):
        if text[place].isspace() and not text[place - 1].isspace():
            return place
    return limit


def encoding_of(path: Path, asked: str = "utf-8") -> str:
    """The encoding that a file's byte-order mark names, or else the one that is asked for."""
    with open(path, "rb") as file:
        start = file.read(4)
    marks = {
        codecs.BOM_UTF8: "utf-8-sig",
        codecs.BOM_UTF32_LE: "utf-32",
        codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16",
        codecs.BOM_UTF16_BE: "utf-16",
    }
    return next((name for mark, name in marks.items() if start.startswith(mark)), asked)


def _check_no_wide_characters(path: Path, encoding: str, start: bytes) -> None:
    """Refuse what would pass as text with a NUL beside every letter."""
    if encoding == "utf-8" and start.count(0) > len(start) // 4:
        raise InputError(
            f"{path} is no UTF-8 text: it has a NUL in every few bytes. If it is UTF-16 without a"
            " byte-order mark, write corpus.encoding: utf-16-le (or utf-16-be)."
        )


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    if not is_encoding(encoding):
        raise InputError(f"corpus.encoding: there is no {encoding!r}. {ENCODINGS}")
    return codecs.getincrementaldecoder(encoding)()


def jsonl_documents(
    files: Iterable[str | Path], field: str, encoding: str = "utf-8"
) -> Iterator[str]:
    """The strings under `field` of files with one JSON object per line; blank lines are skipped.

    Raises:
        InputError: a line is no JSON object or lacks the field, named by file and line number.
    """
    for path in files:
        for number, line in enumerate(lines_of(text_pieces(path, encoding)), start=1):
            if line.strip():
                yield _json_field(line, field, f"{path}, line {number}")


def lines_of(pieces: Iterator[str]) -> Iterator[str]:
    """Lines without their ends, which pieces may cut anywhere."""
    begun: list[str] = []  # not one string: a line may have many pieces
    for piece in pieces:
        first, *others = piece.split("\n")
        begun.append(first)
        for other in others:
            yield "".join(begun)
            begun = [other]
    yield "".join(begun)


def dataset_documents(
    dataset: str, split: str, field: str, subset: str | None = None, revision: str | None = None
) -> Iterator[str]:
    """The strings in column `field` of a dataset on the Hugging Face hub or in a local directory.

    The dataset is streamed, unless it is a directory that `save_to_disk` wrote. Rows may be null
    there, which nobody can correct on the hub: they are left out.

    Raises:
        InputError: the dataset, its split or the column cannot be found, or a download fails.
    """
    for number, row in rows_with(field, dataset, split, subset, revision):
        text = row.get(field)
        if not isinstance(text, str):
            tokens = " Of one that holds token ids, write corpus.tokenised: true."
            raise InputError(
                f"Row {number} of dataset {dataset} has no text in column {field!r}. Its columns"
                f" are {', '.join(row)}: set corpus.field (of init, --field) to one that holds"
                f" text.{tokens if isinstance(text, list) else ''}"
            )
        yield text


def dataset_tokens(
    dataset: str, split: str, field: str, subset: str | None = None, revision: str | None = None
) -> Iterator[np.ndarray]:
    """The token ids in column `field` of a dataset, as of `dataset_documents`: int32 [n_tokens].

    Rows without a token, and null ones, are left out.

    Raises:
        InputError: the dataset, its split or the column cannot be found, or holds something else.
    """
    for number, row in rows_with(field, dataset, split, subset, revision):
        ids = np.asarray(row.get(field))
        if ids.shape == (0,):  # of which NumPy does not know that they would be whole numbers
            continue
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise InputError(
                f"Row {number} of dataset {dataset} has no token ids in column {field!r}. Its"
                f" columns are {', '.join(row)}: set corpus.field to one that holds a list of"
                " whole numbers, or corpus.tokenised to false."
            )
        yield ids.astype(np.int32)


def rows_with(
    field: str, dataset: str, split: str, subset: str | None = None, revision: str | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, but those where the field is null."""
    rows = _named_errors(dataset, _dataset_rows(dataset, split, subset, revision))
    for number, row in enumerate(rows):
        if row.get(field, "") is not None:
            yield number, row


def _dataset_rows(
    dataset: str, split: str, subset: str | None, revision: str | None
) -> Iterator[dict[str, Any]]:
    import datasets  # takes seconds to import, and only this source needs it

    path = Path(dataset)
    if (path / "state.json").is_file():
        yield from datasets.load_from_disk(dataset)
    elif (path / "dataset_dict.json").is_file():
        splits = datasets.load_from_disk(dataset)
        if split not in splits:
            raise ValueError(f"it has no split {split}, but {', '.join(splits)}")
        yield from splits[split]
    else:
        yield from datasets.load_dataset(
            dataset, name=subset, split=split, revision=revision, streaming=True
        )


def _named_errors(dataset: str, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass `rows` through; what goes wrong in the library becomes one line with a remedy."""
    try:
        yield from rows
    except (KeyError, ValueError, FileNotFoundError, RuntimeError) as error:
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
    check_unpacked(str(path), path)
    return path


def _json_field(line: str, field: str, place: str) -> str:
    try:
        record = parsed_json(line)
    except ValueError as error:
        reason = getattr(error, "msg", error)
        raise InputError(
            f"{place}: not valid JSON ({reason}). Correct or remove it; every line is one object."
        ) from None
    if not isinstance(record, dict):
        raise InputError(
            f"{place}: no JSON object, and every line must be one. Correct or remove it; a file of"
            f" another form, {AS_DATASET} (corpus.source)."
        )
    if field not in record:
        raise InputError(
            f"{place}: no text under {field!r} (its fields: {', '.join(record)}). Set corpus.field"
            " (of init, --field)."
        )
    text = record[field]
    if not isinstance(text, str):
        raise InputError(
            f"{place}: {field!r} is {'null' if text is None else repr(text)[:60]}, not text."
            " Correct or remove the line, or set corpus.field (of init, --field)."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{place}: half a character under {field!r} (an unpaired \\ud800 to \\udfff). Correct"
            " or remove it."
        ) from None
    return text
