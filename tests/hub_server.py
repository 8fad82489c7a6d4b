"""A hub on the loopback: repositories are made, uploaded to in commits, and read file by file."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from loopback import Reply, Request, serving

COMMIT = "0" * 39 + "1"
NO_REPOSITORY = Reply(404, headers={"X-Error-Code": "RepoNotFound"})


class Hub:
    """Answers as the Hugging Face Hub does, for as much as an upload and a download need.

    Attributes:
        files: repository → path → content.
        visibility: repository → what was asked for when it was made.
        token: what every upload must bring.
        breaks: how many more times the line breaks in the weights, at the byte `break_at`.
        sent: (file, bytes) of every file and list of files that was fetched; a list has no name.
    """

    def __init__(self, token: str = "") -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.visibility: dict[str, str] = {}
        self.token = token
        self.breaks: float = 0
        self.break_at = 20_000
        self.sent: list[tuple[str, int]] = []

    def respond(self, request: Request, _: int) -> Reply:
        path = unquote(request.path.partition("?")[0])
        if request.method == "POST" and not path.endswith("validate-yaml"):
            if request.headers["Authorization"] != f"Bearer {self.token}":
                return Reply(401, b'{"error": "Invalid username or password."}')
            return self._written(path, request)
        if path.endswith("validate-yaml"):
            return said({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            return self._listed(*found.groups())
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(*found.groups(), request)
        return Reply(404)

    def _written(self, path: str, request: Request) -> Reply:
        if path == "/api/repos/create":
            name = f"{request.body['organization']}/{request.body['name']}"
            self.files.setdefault(name, {})
            self.visibility[name] = request.body.get("visibility", "public")
            return said({"url": f"/{name}", "id": "1", "name": name})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if not found or found[1] not in self.files:
            return Reply(404)
        if found[2] == "preupload":
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return said({"files": [{**modes, "path": f["path"]} for f in request.body["files"]]})
        for line in map(json.loads, request.content.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.files[found[1]][line["value"]["path"]] = content
        return said({"commitUrl": f"/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})

    def _listed(self, name: str, rest: str | None) -> Reply:
        self.sent.append(("", 0))
        if name not in self.files:
            return NO_REPOSITORY
        if not (rest or "").startswith("/tree/"):
            siblings = [{"rfilename": path} for path in self.files[name]]
            return said({"id": name, "sha": COMMIT, "siblings": siblings})
        return said(
            [
                {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
                for path, content in self.files[name].items()
            ]
        )

    def _file(self, name: str, path: str, request: Request) -> Reply:
        if name not in self.files:
            return NO_REPOSITORY
        content = self.files[name].get(path)
        if content is None:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(content)}"'}
        if request.method == "HEAD":
            return Reply(200, content, headers)
        wanted = re.match(r"bytes=(\d+)", request.headers.get("Range", ""))
        start, only = int(wanted[1]) if wanted else 0, None
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if path == "model.safetensors" and self.breaks > 0:
            self.breaks -= 1
            only = max(self.break_at - start, 0)
        reply = Reply(206 if start else 200, content[start:], headers, only)
        self.sent.append((path, len(reply.body[:only])))
        return reply


@contextmanager
def hub_with(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the model in `folder` as some/model, and an empty cache below `cache`."""
    hub = Hub()
    hub.files["some/model"] = {file.name: file.read_bytes() for file in folder.iterdir()}
    with serving(hub.respond) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield hub


def said(answer: Any) -> Reply:
    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
