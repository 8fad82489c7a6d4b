"""A server on the loopback that replies as tests want it to."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple


class Request(NamedTuple):
    path: str
    headers: Message  # names in any case
    content: bytes
    method: str = "GET"

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def text(self) -> str:
        """What the user of a chat asks."""
        return self.body["messages"][-1]["content"]


class Reply(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    only: int | None = None
    """So many bytes of the body, then the connection is closed."""
    late: bool = False
    """Nothing comes until the server is closed, five seconds at most."""


class Server(NamedTuple):
    address: str
    requests: list[Request]


@contextmanager
def serving(respond: Callable[[Request, int], Reply]) -> Iterator[Server]:
    """Answer requests by `respond`, which gets each and how many came before it."""
    requests, lock, closing = [], threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.path, self.headers, content, self.command)
            with lock:
                number = len(requests)
                requests.append(request)
            reply = respond(request, number)
            if reply.late:
                closing.wait(5)
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body[: reply.only])

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
