"""What to say where something does not fit on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from clustersae.runtime.errors import InputError


@contextmanager
def enough_memory(what: str, remedy: str) -> Iterator[None]:
    """While entered, a GPU's memory that runs out becomes an InputError with the remedy.

    Args:
        what: has no room, the beginning of a sentence.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:  # which devices alone raise
        raise InputError(f"Out of memory: {what} does not fit on the GPU. {remedy}") from error
