"""Files that are not what they say they are, and a limit on the memory that reading them takes."""

import json
import os
import pickle
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file

#: Bytes of address space beyond what the process has; a reader that believes the file needs more.
ALLOWANCE = 3 << 29

DEEP = "[" * 10_000 + "]" * 10_000


@contextmanager
def little_memory() -> Iterator[None]:
    """While the context lasts, this process gets no more than ALLOWANCE beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ALLOWANCE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Payload:
    """Makes the folder `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def pickled(mark: Path) -> bytes:
    return pickle.dumps({"weight": Payload(mark)})


def with_header(text: str, length: int | None = None) -> bytes:
    """A safetensors file of a header alone; `length` is what it says that header's length is."""
    return struct.pack("<Q", len(text) if length is None else length) + text.encode()


def tensor_header(shape: list[int], offsets: list[int]) -> bytes:
    entry = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    return with_header(json.dumps({"weight": entry})) + bytes(64)


def hostile_tensors(mark: Path) -> dict[str, bytes]:
    """Contents of files named .safetensors, by what is wrong with them."""
    return {
        "pickle": pickled(mark),
        "header of 100 GB": with_header("{}", 100 << 30),
        "header of 2^64 bytes": with_header("{}", 2**64 - 1),
        "offsets beyond the end": tensor_header([1 << 40], [0, 1 << 42]),
        "offsets that overflow": tensor_header([1 << 62], [0, 1 << 64]),
        "shape of another size": tensor_header([1 << 40], [0, 64]),
        "backward offsets": tensor_header([4], [32, 16]),
        "deep header": with_header(f'{{"__metadata__": {DEEP}}}'),
        "nothing": b"",
    }


def edited(path: Path, **changes) -> None:
    """Change some values of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def with_metadata(path: Path, **changes: str) -> None:
    """Change some metadata of a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {**file.metadata(), **changes}
    save_file(tensors, path, metadata=metadata)
