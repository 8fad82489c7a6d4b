"""What a judge on the loopback says, and contexts for it to judge."""

import json
import re
from typing import Any

import pandas as pd
from loopback import Reply, Request

JSON = {"Content-Type": "application/json"}


def says(content: Any) -> Reply:
    """A completion; of text, if it is right."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    body = json.dumps({"object": "chat.completion", "choices": [choice]})
    return Reply(body=body.encode(), headers=JSON)


def fails(status: int, message: str = "", **headers: str) -> Reply:
    """An error, after which one may soon come back."""
    body = json.dumps({"error": {"message": message}}).encode()
    return Reply(status, body, {**JSON, "Retry-After": "0.01", **headers})


def expert(request: Request, _: int = 0) -> Reply:
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
