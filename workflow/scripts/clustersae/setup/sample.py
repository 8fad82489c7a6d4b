"""What a text is like, found from a sample of it."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from clustersae.corpora.text import (
    dataset_documents,
    encoding_of,
    jsonl_documents,
    lines_of,
    rows_with,
    text_pieces,
)
from clustersae.corpora.tokenizer import read_tokenizer
from clustersae.experiment.sources import dataset_files
from clustersae.experiment.texts import AS_DATASET, check_repeats
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json
from clustersae.setup.facts import REPOSITORY, ModelFacts

#: Of a text, read to see what it is like.
SAMPLE_CHARACTERS = 1 << 20
#: Of a subword tokenizer on English, where the model's own cannot be asked.
CHARACTERS_PER_TOKEN = 4.0
#: What texts for language models put between documents.
SEPARATORS = ("<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "</s>")
#: Rows of a dataset that are looked at for what they hold beside the text.
SAMPLE_ROWS = 100
#: Of files that are rows, not running text.
_TABLES = (".json", ".csv", ".tsv")


@dataclass(frozen=True)
class TextFacts:
    """A text and how it is read.

    Attributes:
        corpus: its keys of the section `corpus`.
        n_bytes: of all files; None for a dataset of the Hub.
        n_tokens: in all, estimated from a sample; None where n_bytes is.
        measured: the sample was read with the model's own tokenizer.
    """

    corpus: dict[str, Any]
    n_bytes: int | None
    n_tokens: int | None
    measured: bool


def look_at_text(places: Sequence[str], model: ModelFacts, field: str | None = None) -> TextFacts:
    """Text files or a folder of them, JSON Lines files, or one dataset (a folder here, or a name
    of the Hub).

    Args:
        field: that holds the text, in JSON Lines and datasets; by default one is looked for.

    Raises:
        InputError: there is no such text, or it cannot be read.
    """
    paths = [Path(os.path.expanduser(place)) for place in places]
    if all(map(os.path.isfile, paths)):
        check_repeats("--text", paths)
        of_lines = [path for path in paths if _has_json_lines(path)]
        if len(of_lines) == len(paths):
            return _json_lines(paths, model, field)
        if of_lines:
            raise InputError(
                f"--text: {of_lines[0]} is JSON Lines, others are not. Give files of one kind."
            )
        return _text_files(paths, model)
    missing = [place for place, path in zip(places, paths) if not os.path.exists(path)]
    if len(places) > 1:
        what = f"{missing[0]} does not exist" if missing else "one of them is a folder"
        raise InputError(f"--text: {what}. Give files, or one dataset.")
    if missing and not REPOSITORY.fullmatch(places[0]):
        raise InputError(
            f"--text {places[0]}: there is no such file, and a dataset of the Hugging Face Hub is"
            " written OWNER/NAME."
        )
    place, field = (places[0] if missing else str(paths[0])), field or "text"
    inside = [] if missing else dataset_files(place)
    inside = [file for file in inside if file.name.lower() != "readme.md"]
    # As a dataset, these would have a document for every line.
    if inside and all(file.suffix.lower() == ".txt" for file in inside):
        return _text_files([file for file in inside if file.stat().st_size] or inside, model)
    sample = _sample(dataset_documents(place, "train", field))
    corpus = {"source": "dataset", "dataset": place, "field": field}
    if missing:
        return _with_tokens(corpus, None, None, sample, model)
    n_bytes = _size(inside)
    n_characters: float = len(sample)
    if not _is_whole(sample):
        n_characters *= n_bytes / len(sample.encode()) * _share_of_text(place, field)
    return _with_tokens(corpus, n_bytes, n_characters, sample, model)


def _text_files(paths: Sequence[Path], model: ModelFacts) -> TextFacts:
    for path in paths:
        if path.suffix.lower() in _TABLES:
            raise InputError(f"--text {path} is no running text: {AS_DATASET}.")
    # Every file is opened, so that one that is no text is found now.
    samples = [_sample(text_pieces(path)) for path in paths]
    found = [(sample.count(each), each) for sample in samples for each in SEPARATORS]
    count, separator = max(found, key=lambda each: each[0])
    corpus = {
        "source": "text",
        "files": [str(path) for path in paths],
        "separator": separator if count else None,
    }
    n_characters = sum(map(_characters, paths, samples))
    return _with_tokens(corpus, _size(paths), n_characters, "".join(samples), model)


def _json_lines(paths: Sequence[Path], model: ModelFacts, field: str | None) -> TextFacts:
    field = field or _longest_field(paths[0])
    read = _sample(text_pieces(paths[0]))
    n_lines = max(1, read.count("\n"))
    sample = "".join(islice(jsonl_documents(paths, field), n_lines))
    # The rest of a line are names and other fields.
    share = min(1.0, len(sample) / len(read))
    corpus = {"source": "jsonl", "files": [str(path) for path in paths], "field": field}
    n_characters = share * sum(_characters(path, read, whole=False) for path in paths)
    return _with_tokens(corpus, round(_size(paths) * share), n_characters, sample, model)


def _has_json_lines(path: Path) -> bool:
    """By its name; one that ends in .json may be of lines or of one value."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return bool(_first_record(iter([_sample(text_pieces(path))])))
    return suffix in (".jsonl", ".ndjson")


def _first_record(pieces: Iterator[str]) -> dict[str, Any]:
    """The JSON object in the first line that is not blank; empty if there is none."""
    try:
        record = parsed_json(next((line for line in lines_of(pieces) if line.strip()), ""))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _longest_field(path: Path) -> str:
    """`text` if the first line has it, else its longest text."""
    record = _first_record(text_pieces(path))
    if "text" in record:
        return "text"
    texts = {key: value for key, value in record.items() if isinstance(value, str)}
    return max(texts, key=lambda key: len(texts[key]), default="text")


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _is_whole(sample: str) -> bool:
    return len(sample) < SAMPLE_CHARACTERS


def _characters(path: Path, sample: str, whole: bool = True) -> float:
    """Of a file, by the bytes that a character of the sample takes.

    Args:
        whole: a sample that did not fill up is all of the file.
    """
    if whole and _is_whole(sample):
        return len(sample)
    return path.stat().st_size * len(sample) / len(sample.encode(encoding_of(path)))


def _share_of_text(place: str, field: str) -> float:
    """Of what the first rows of a dataset hold; the rest are other columns."""
    rows = [row for _, row in islice(rows_with(field, place, "train"), SAMPLE_ROWS)]
    of_all = sum(len(str(value)) for row in rows for value in row.values())
    return sum(len(row[field]) for row in rows) / max(1, of_all)


def _sample(pieces: Iterator[str]) -> str:
    read, length = [], 0
    for piece in pieces:
        read.append(piece)
        length += len(piece)
        if length >= SAMPLE_CHARACTERS:
            break
    return "".join(read)[:SAMPLE_CHARACTERS]


def _with_tokens(
    corpus: dict[str, Any],
    n_bytes: int | None,
    n_characters: float | None,
    sample: str,
    model: ModelFacts,
) -> TextFacts:
    if not sample:
        raise InputError(f"--text {corpus.get('dataset') or corpus['files'][0]} has no text.")
    per_token = CHARACTERS_PER_TOKEN
    if model.tokenizer:
        encoding = read_tokenizer(model.tokenizer).encode(sample, add_special_tokens=False)
        per_token = len(sample) / max(1, len(encoding.ids))
    total = None if n_characters is None else round(n_characters / per_token)
    return TextFacts(corpus, n_bytes, total, measured=model.tokenizer is not None)
