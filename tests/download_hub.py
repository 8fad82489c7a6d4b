"""The part of the Hugging Face Hub that downloads of a model use, on the loopback."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """The part of the Hugging Face Hub's HTTP interface that a download uses."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.breaks: float = 0  # how many more times the line breaks in the weights, ...
        self.break_at = 20_000  # ... at this byte
        self.sent: list[tuple[str, int]] = []  # (file, bytes) of every answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/some/model/tree/"):
            files = [self._entry(file) for file in sorted(self.server.folder.iterdir())]
            return self._send(json.dumps(files).encode(), with_body)
        if path.startswith("/api/models/some/model"):
            siblings = [{"rfilename": file.name} for file in self.server.folder.iterdir()]
            answer = {"id": "some/model", "sha": COMMIT, "siblings": siblings}
            return self._send(json.dumps(answer).encode(), with_body)
        file = self.server.folder / path.rpartition("/")[2]
        if not path.startswith("/some/model/resolve/") or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return self._send(file.read_bytes(), with_body, file.name)

    def _entry(self, file: Path) -> dict:
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)}

    def _send(self, body: bytes, with_body: bool, name: str = "") -> None:
        start = 0
        wanted = self.headers.get("Range", "")
        if with_body and wanted.startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if not with_body:
            return
        broken = name == "model.safetensors" and self.server.breaks > 0
        piece = body[start : self.server.break_at if broken else None]
        self.server.sent.append((name, len(piece)))
        self.wfile.write(piece)
        if broken:
            self.server.breaks -= 1
            self.wfile.flush()
            self.connection.close()

    def log_message(self, *_) -> None:
        pass


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def serving(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that has the model in `folder` as some/model, and an empty cache below `cache`."""
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
