"""A task as text, and the files in which users bring their own."""

import csv
import io
import json
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clustersae.corpora.text import encoding_of
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json

MAX_ERRORS_SHOWN = 10


class TaskPrompt(NamedTuple):
    """A prompt and its corruption, with the answer that each of them calls for.

    The answers begin with whatever stands between prompt and answer, as a rule a space. The
    patch answer is the wrong answer to the clean prompt.
    """

    clean_prefix: str
    patch_prefix: str
    clean_answer: str
    patch_answer: str

    @property
    def mirrored(self) -> "TaskPrompt":
        """The same pair with clean and corrupted prompt in each other's place."""
        return TaskPrompt(
            self.patch_prefix, self.clean_prefix, self.patch_answer, self.clean_answer
        )


def read_prompts(path: str | Path) -> list[TaskPrompt]:
    """The prompts of a user's file, in order.

    JSON Lines (any suffix but .csv) and CSV hold clean_prefix, patch_prefix, clean_answer and
    patch_answer; further keys are ignored. Two published layouts of CSV are read as well, see
    `_greater_than` and `_indirect_object`.

    Raises:
        InputError: the file cannot be read, holds nothing, or has bad lines; each of them is
            named with its number, the key and what is wrong.
    """
    path = Path(path)
    records = _csv_records if path.suffix.lower() == ".csv" else _json_records
    prompts, errors = [], []
    try:
        for number, record in records(_text(path)):
            try:
                prompts.append(_prompt(record))
            except ValueError as error:
                errors.append(f"line {number}: {error}")
    except csv.Error as error:
        raise InputError(f"{path} is not valid CSV ({error}). Is a quotation mark open?") from None
    if errors:
        shown = errors[:MAX_ERRORS_SHOWN]
        more = [f"and {len(errors) - len(shown)} more"] if len(errors) > len(shown) else []
        each = "" if records is _csv_records else " (each must be a JSON object)"
        head = f"Correct {path}, which has bad lines{each}:"
        raise InputError("\n  ".join([head, *shown, *more]))
    if not prompts:
        raise InputError(
            f"{path} holds no prompts. Give one JSON object per line, with"
            f" {', '.join(TaskPrompt._fields)}."
        )
    return prompts


def prompt_line(prompt: TaskPrompt, **labels: str) -> str:
    """A line of a file that `read_prompts` reads, with `labels` as further keys."""
    return json.dumps({**labels, **prompt._asdict()}, ensure_ascii=False) + "\n"


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file: correct the task's path.")
    try:
        return path.read_text(encoding=encoding_of(path))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}: {error.reason}). Convert it, e.g. with"
            f" iconv -f latin1 -t utf-8 {path.name}."
        ) from None


def _json_records(text: str) -> Iterator[tuple[int, Any]]:
    """Line numbers and what the lines hold, undecoded: a bad line must not end the reading."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _csv_records(text: str) -> Iterator[tuple[int, Any]]:
    # Strictly: a quotation mark that stays open would swallow the lines after it.
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for record in reader:
        yield reader.line_num, record


def _prompt(record: str | Mapping[str, Any]) -> TaskPrompt:
    """Raises ValueError, with what is wrong, for a record that is no prompt."""
    if isinstance(record, str):  # a line of JSON
        try:
            record = parsed_json(record)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON ({error.msg}, column {error.colno})") from None
        except ValueError as error:
            raise ValueError(f"not valid JSON ({error})") from None
        if not isinstance(record, dict):
            raise ValueError("no JSON object with the keys " + ", ".join(TaskPrompt._fields))
    elif None in record:  # the csv module's key for what is beyond the columns
        raise ValueError("more values than columns: put quotation marks around what has a comma")
    elif None in record.values():
        raise ValueError("fewer values than columns")
    elif "clean" in record and "corrupted_hard" in record:
        record = _indirect_object(record["clean"], record["corrupted_hard"])
    elif {"clean", "corrupted", "label"} <= record.keys():
        record = _greater_than(record["clean"], record["corrupted"], record["label"])
    for key in TaskPrompt._fields:
        value = record.get(key)
        if key not in record:
            raise ValueError(f"no {key} (its keys: {', '.join(map(str, record)) or 'none'})")
        if not isinstance(value, str):
            shown = "null" if value is None else reprlib.repr(value)
            raise ValueError(f"{key} is {shown}, not text")
        if not value.strip():
            raise ValueError(f"{key} is empty")
    return TaskPrompt(*(record[key] for key in TaskPrompt._fields))


def _greater_than(clean: str, corrupted: str, label: str) -> dict[str, Any]:
    """A row `clean, corrupted, label` of EAP-IG's greater_than_data.csv.

    The label is the year YY that the clean prompt begins in; the corrupted prompt begins in 01.
    The file names no answers. Taken here: the year half-way from YY to 99, and, as the wrong
    answer, the year half-way from 01 to YY, which is right after the corrupted prompt. So neither
    is copied from a prompt or at the border, but where YY is 02 or 98.
    """
    if not (label or "").isdecimal() or not 2 <= int(label) <= 98:
        raise ValueError(f"label is {label!r}, not a year from 02 to 98")
    year = int(label)
    return _record(clean, corrupted, f"{(year + 100) // 2:02d}", f"{(year + 2) // 2:02d}")


def _indirect_object(clean: str, corrupted: str) -> dict[str, Any]:
    """A row `clean, corrupted_hard` of EAP-IG's ioi_llama.csv.

    The two prompts differ in one word: the giver of the one is the receiver of the other. (Its
    answer columns hold ids of one tokenizer and are not used.)
    """
    differing = {
        pair for pair in zip((clean or "").split(), (corrupted or "").split()) if len({*pair}) > 1
    }
    if len(differing) != 1:
        raise ValueError("clean and corrupted_hard do not differ in exactly one word, the giver")
    giver, receiver = differing.pop()
    return _record(clean, corrupted, f" {receiver}", f" {giver}")


def _record(*values: str) -> dict[str, str]:
    return dict(zip(TaskPrompt._fields, values))
