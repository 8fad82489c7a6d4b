"""A server on the loopback that sends one file, or what tests want to come instead of it."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import NamedTuple


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
    seen, lock, closing = [], threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            asked = Asked(self.path, int(found[1]) if found else None)
            with lock:
                number = len(seen)
                seen.append(asked)
            reply = respond(asked, number)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.sized:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.only])
            self.wfile.flush()
            if reply.stalls:
                closing.wait(5)

        def log_message(self, *_):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", seen)
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
