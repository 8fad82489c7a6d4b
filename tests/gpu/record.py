"""What a stage has found: one JSON file, whole after every figure that is added to it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clustersae.runtime.files import read_json, write_json

#: How a stage ends; any other status is that of a stage whose process has died.
DONE, FAILED, STOPPED, RUNNING = "done", "failed", "stopped at its time limit", "running"


class Record:
    """A stage's file; what an earlier, interrupted run of the stage left there is kept.

    Attributes:
        content: all that is known, as it stands in the file.
        watching: what else is known at any time, by key; asked for whenever the file is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.watching: dict[str, Callable[[], Any]] = {}
        self.content: dict[str, Any] = read_json(path) if path.is_file() else {}

    def put(self, **values: Any) -> None:
        """Set keys, and write the file."""
        values |= {key: ask() for key, ask in self.watching.items()}
        self.content |= {key: plain(value) for key, value in values.items()}
        write_json(self.path, self.content)

    def add(self, key: str, name: str, value: Any) -> None:
        """Set one entry of the mapping at `key`, and write the file."""
        self.put(**{key: {**self.content.get(key, {}), name: value}})

    def has(self, key: str, name: str) -> bool:
        """Whether that entry was found before, and is no account of why it was not."""
        found = self.content.get(key, {}).get(name)
        return found is not None and not (isinstance(found, Mapping) and "missing" in found)

    @property
    def done(self) -> bool:
        """Whether another call has nothing to add: it may have had time for some seeds only."""
        return self.content.get("status") == DONE and not self.content.get("goes_on")


def plain(value: Any) -> Any:
    """The same as JSON can hold it: no number that is none, no path, no tuple."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)
