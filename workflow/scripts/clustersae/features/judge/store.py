"""Replies of a judge on disk, so that nothing is asked twice."""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json


def digest(request: Any) -> str:
    """Of a request: plain values that say who is asked what."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Store:
    """All replies to every request, also those that answer nothing, in the order they came.

    A JSON Lines file `{"digest": ..., "reply": ...}` that only grows; many threads may add to it.
    A line that a killed job left unfinished is dropped.

    Raises:
        InputError: the file holds something else; the message names the line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._replies: dict[str, list[str]] = {}
        if self.path.exists():
            self._load()

    def replies(self, key: str) -> list[str]:
        """To the request of the digest `key`, so far."""
        with self._lock:
            return list(self._replies.get(key, ()))

    def add(self, key: str, reply: str) -> None:
        """Keep a reply; it is on disk when this returns."""
        # ASCII, so that the file can hold whatever a model says, lone surrogates too.
        line = json.dumps({"digest": key, "reply": reply})
        with self._lock:
            with open(self.path, "a", encoding="ascii") as file:
                file.write(line + "\n")
            self._replies.setdefault(key, []).append(reply)

    def _load(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = parsed_json(line)
                key, reply = row["digest"], row["reply"]
                if not (isinstance(key, str) and isinstance(reply, str)):
                    raise TypeError("digest and reply are text")
                self._replies.setdefault(key, []).append(reply)
            except (ValueError, LookupError, TypeError):
                raise InputError(
                    f"Line {number} of {self.path} is no reply of a judge. Delete that line, and"
                    " run again: only its question is asked anew."
                ) from None
