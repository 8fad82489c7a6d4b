"""A server on the loopback, for as long as a test needs it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def listening(
    method: str, reply: Callable[[BaseHTTPRequestHandler, threading.Event], None]
) -> Iterator[int]:
    """The port of a server that answers requests of `method` by `reply`, each in a thread.

    `reply` is also given an event that is set when the server is about to be closed.
    """
    closing = threading.Event()

    def do(handler: BaseHTTPRequestHandler) -> None:
        reply(handler, closing)

    quiet = {f"do_{method}": do, "log_message": lambda *_: None}
    handler = type("Handler", (BaseHTTPRequestHandler,), quiet)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
