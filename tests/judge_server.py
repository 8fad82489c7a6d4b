"""An endpoint on the loopback that answers as a judge does, or as tests want it to fail."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from loopback import listening


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """What the user asks."""
        return self.body["messages"][-1]["content"]


class Answer(NamedTuple):
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    late: bool = False
    """Comes when the server is closed, after five seconds at most."""


def says(content: str | None) -> Answer:
    """A completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    return Answer(body=json.dumps({"object": "chat.completion", "choices": [choice]}))


class Server(NamedTuple):
    base_url: str
    requests: list[Request]


@contextmanager
def serving(respond: Callable[[Request, int], Answer]) -> Iterator[Server]:
    """Answer requests by `respond`, which gets each and how many came before it."""
    requests, lock = [], threading.Lock()

    def reply_to(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        request = Request(handler.path, dict(handler.headers), body)
        with lock:
            number = len(requests)
            requests.append(request)
        answer = respond(request, number)
        if answer.late:
            closing.wait(5)
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body.encode())))
        handler.end_headers()
        handler.wfile.write(answer.body.encode())

    with listening("POST", reply_to) as port:
        yield Server(f"http://127.0.0.1:{port}/v1", requests)


def expert(request: Request, _: int = 0) -> Answer:
    """A judge that takes the first marked word for the meaning of a latent."""
    passages = re.findall(r"^\d+\. (.*)$", request.text, re.MULTILINE)
    explained = re.search(r"explained so:\nthe word (\w+)", request.text)
    if explained is None:
        word = re.search(r"<<(\w+)", request.text).group(1)
        return says(f"They have a word in common.\n**Explanation:** the word {word}")
    word = explained.group(1)
    sought = f"<<{word}>>" if "marked by" in request.text else word
    return says(f"[I think aloud]\n{[int(sought in passage) for passage in passages]}")


def context_rows(
    latent: int, layer: int, word: str, sequences: range, cluster: str = "0-1", seed: int = 0
) -> list[dict[str, Any]]:
    """A latent that is active on a word, in passages that differ by sequence."""
    rows = []
    for rank, sequence in enumerate(sequences):
        peak = 1 + sequence % 4
        tokens = [f"filler{(sequence + place) % 7}" for place in range(6)]
        tokens[peak] = word
        activations = [0.0] * 6
        activations[peak] = 9.0 - rank
        rows.append(
            {
                **{"variant": "base", "partition": "even-2", "seed": seed, "cluster": cluster},
                **{"latent": latent, "layer": layer, "rank": rank, "activation": 9.0 - rank},
                **{"sequence": sequence, "position": 3, "peak": peak},
                **{"tokens": tokens, "activations": activations},
            }
        )
    return rows


def write_contexts(path, rows: list[dict[str, Any]]):
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path
