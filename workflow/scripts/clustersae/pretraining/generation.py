"""Text from a language model, and how fast it comes."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from clustersae.pretraining.decoding import Decoder


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; the defaults are those of the published run."""

    n_tokens: int = 500  # new ones
    temperature: float = 0.8
    top_k: int = 200  # draw among so many of the likeliest tokens


#: Samples of the published run.
N_SAMPLES = 10


def window_start(length: int, room: int, stride: int) -> int:
    """The first token that a model with room for `room` tokens sees of a text of `length`.

    A full window moves on by `stride` tokens at a time. With a stride of 1 the model sees the last
    `room` tokens, as in the published run.
    """
    return max(0, -(-(length - room) // stride)) * stride


@torch.no_grad()
def generate(
    decoder: Decoder,
    prompt: list[int],
    sampling: Sampling,
    seed: int,
    bos_id: int | None = None,
    stride: int = 1,
    cached: bool = True,
) -> list[int]:
    """New tokens after `prompt`, the same with the cache and without.

    While the window grows, a token costs one token's work with the cache. As soon as it moves,
    every token has another learned position, nothing cached holds, and the window is read anew:
    with a stride of 1 at every token, with a longer stride once per stride, at the price of a
    shorter context just after.

    A token is drawn as the maximum of logits and Gumbel noise (Gumbel 1954), which is fixed by
    `seed` beforehand. So drawing waits for no device, and takes no other course when rounding
    differs.

    Args:
        bos_id: stands at the start of every window, if the model's texts begin with it.
    """
    device = decoder.device
    begin = [] if bos_id is None else [bos_id]
    room = decoder.n_ctx - len(begin)
    noise = _gumbel((sampling.n_tokens, decoder.vocab_size), seed).to(device)
    bos = torch.tensor(begin, dtype=torch.int64, device=device)
    text = torch.zeros(len(prompt) + sampling.n_tokens, dtype=torch.int64, device=device)
    text[: len(prompt)] = torch.tensor(prompt)
    before = None
    for index in range(sampling.n_tokens):
        length = len(prompt) + index
        start = window_start(length, room, stride)
        if cached and start == before:
            place = len(begin) + length - 1 - start
            logits = decoder.extend(text[length - 1 : length], place)
        else:
            logits = decoder.read(torch.cat([bos, text[start:length]]))
        text[length] = _drawn(logits, noise[index], sampling)
        before = start
    return text[len(prompt) :].tolist()


def _gumbel(shape: tuple[int, int], seed: int) -> Tensor:
    """Standard Gumbel noise, float32, drawn on the CPU: the same on every device."""
    return torch.from_numpy(np.random.default_rng(seed).gumbel(size=shape).astype(np.float32))


def _drawn(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """The id of the token drawn, int64 []."""
    logits = logits / sampling.temperature
    if sampling.top_k < len(logits):
        least = logits.topk(sampling.top_k).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return (logits + noise).argmax()


def measure(
    model: GPT2LMHeadModel,
    prompt: list[int],
    seed: int,
    bos_id: int | None = None,
    sampling: Sampling | None = None,
    n_samples: int = N_SAMPLES,
) -> dict[str, Any]:
    """Tokens per second of generation, one sequence at a time, and the first sample.

    Twice: with the window of the published run, which moves by one token at a time, and with one
    that moves by half its length, where the cache serves throughout. Recording CUDA graphs and
    drawing noise are not in the time of any sample but the noise of its own; a short sample comes
    before the first that counts.
    """
    sampling = sampling or Sampling()
    decoder = Decoder(model)
    room = decoder.n_ctx - (bos_id is not None)
    record: dict[str, Any] = {"samples": n_samples, **vars(sampling)}
    for name, stride in {"window_of_the_last_tokens": 1, "window_in_halves": room // 2}.items():
        generate(decoder, prompt, Sampling(n_tokens=8), seed, bos_id, stride)
        rates = []
        for index in range(n_samples):
            started = time.perf_counter()
            ids = generate(decoder, prompt, sampling, seed + index, bos_id, stride)
            rates.append(sampling.n_tokens / (time.perf_counter() - started))
            record.setdefault("first_sample", ids)
        record[name] = {
            "stride": stride,
            "tokens_per_second": rates,
            "avg_tokens_per_second": float(np.mean(rates)),
        }
    return record
