"""A hub on the loopback: repositories are made, uploaded to in commits, and read file by file."""

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import unquote

from loopback import Reply, Request

COMMIT = "0" * 39 + "1"


class Hub:
    """Answers as the Hugging Face Hub does, for as much as an upload and a download need.

    Attributes:
        files: repository → path → content.
        visibility: repository → what was asked for when it was made.
        token: what every upload must bring.
    """

    def __init__(self, token: str) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.visibility: dict[str, str] = {}
        self.token = token

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
            return self._file(*found.groups())
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
        if name not in self.files:
            return Reply(404)
        if not (rest or "").startswith("/tree/"):
            siblings = [{"rfilename": path} for path in self.files[name]]
            return said({"id": name, "sha": COMMIT, "siblings": siblings})
        return said(
            [
                {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
                for path, content in self.files[name].items()
            ]
        )

    def _file(self, name: str, path: str) -> Reply:
        content = self.files.get(name, {}).get(path)
        if content is None:
            return Reply(404, headers={"X-Error-Code": "EntryNotFound"})
        return Reply(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(content)}"'})


def said(answer: Any) -> Reply:
    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
