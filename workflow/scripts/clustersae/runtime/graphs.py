"""CUDA graphs: kernels that are launched over and over, on the same memory, by one call.

Where kernels are short, a GPU waits for the host to launch the next one. What is recorded once as a
graph is launched as a whole; Python does not run again, so whatever changes from one call to the
next must lie in tensors that are written to.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

#: Calls before a recording: libraries allocate what they need, compilers compile.
WARM_CALLS = 3


def can_record(device: torch.device) -> bool:
    return device.type == "cuda"


def aside(function: Callable[[], Any]) -> Any:
    """Call `function` on another stream, as must be done before it can be recorded."""
    stream = _stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = function()
    torch.cuda.current_stream().wait_stream(stream)
    return result


def record(function: Callable[[], Any]) -> Callable[[], Any]:
    """`function` as a graph; it was called `aside` before, and is not run by being recorded.

    The tensors that the graph returns are overwritten by its next call.
    """
    graph = torch.cuda.CUDAGraph()
    stream = _stream(torch.cuda.current_device())
    # What other threads do meanwhile, such as pinning memory of batches to come, is no part of it.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        output = function()

    def replay() -> Any:
        graph.replay()
        return output

    return replay


@cache
def _stream(device: int) -> torch.cuda.Stream:
    """One for all warm calls and recordings: memory is kept for every stream by itself."""
    return torch.cuda.Stream(device)


class Recorded:
    """A function of one tensor, always of the same shape, that is recorded after WARM_CALLS calls.

    Every call is a real one, so the function may change what it works on, as a training step does.
    Its result is overwritten by the next call.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function, self._n_calls = function, 0
        self._given = torch.empty(0)
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self, given: Tensor) -> Tensor:
        if self._n_calls < WARM_CALLS:
            self._n_calls += 1
            return aside(lambda: self._function(given))
        if self._replay is None:
            self._given = given.clone()
            self._replay = record(lambda: self._function(self._given))
        self._given.copy_(given)
        return self._replay()
