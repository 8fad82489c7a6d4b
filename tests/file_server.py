"""A server on the loopback that sends one file, or what tests want to come instead of it."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import NamedTuple

from loopback import listening


class Asked(NamedTuple):
    """A request: its path and from which byte on."""

    path: str
    start: int | None = None


class Reply(NamedTuple):
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    only: int | None = None
    """So many bytes of the body, then the connection is closed."""
    stalls: bool = False
    """After those bytes nothing comes until the server is closed, five seconds at most."""
    sized: bool = True
    """Says in front how long the body is."""


def part_of(content: bytes, asked: Asked, **ways) -> Reply:
    """As a server answers that can continue a download."""
    if asked.start is None:
        return Reply(content, **ways)
    if asked.start >= len(content):
        return Reply(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    place = f"bytes {asked.start}-{len(content) - 1}/{len(content)}"
    return Reply(content[asked.start :], 206, {"Content-Range": place}, **ways)


class Server(NamedTuple):
    address: str
    asked: list[Asked]


@contextmanager
def sending(respond: Callable[[Asked, int], Reply]) -> Iterator[Server]:
    """Answer requests by `respond`, which gets each and how many came before it."""
    seen, lock = [], threading.Lock()

    def reply_to(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        asked = Asked(handler.path, int(found[1]) if found else None)
        with lock:
            number = len(seen)
            seen.append(asked)
        reply = respond(asked, number)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.sized:
            handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body[: reply.only])
        handler.wfile.flush()
        if reply.stalls:
            closing.wait(5)

    with listening("GET", reply_to) as port:
        yield Server(f"http://127.0.0.1:{port}", seen)
