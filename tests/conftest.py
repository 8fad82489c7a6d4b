"""Shared by all tests: one thread per process, since tensors here are tiny."""

import gc
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Modules whose experiment takes minutes to run before their first test.
SLOW = ("test_rivals", "test_specialised", "test_library")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those come first: at the end, one process would wait for the other."""
    items.sort(key=lambda item: item.path.stem not in SLOW)


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: every search for garbage would pass over all of PyTorch
