"""safetensors files, written whole and read with errors that name the file."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import replacing

#: The metadata entry that holds a checksum of the file.
_SEAL = "seal"

WIDENED_NUMBERS = 1 << 20  # at a time, by save_integers


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    with_checksums: bool = False,
) -> None:
    """Write `tensors` and string `metadata` to `path`, or nothing at all; see `replacing`.

    The same tensors and metadata give the same bytes.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path, with_checksums) as temporary:
        save_file(contiguous, temporary, metadata=dict(metadata or {}))
        _order_metadata(temporary)


def _order_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, which come in another order in every process."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(ordered) <= length:  # the same JSON: the writer escapes no more than this does
            file.seek(8)
            file.write(ordered.ljust(length))


def save_integers(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tables or lists of small integers as int32, widened a few rows at a time.

    The same file as that of `save_tensors`, without a copy of four bytes per number in memory:
    in front of the numbers, safetensors has the length of a JSON header, and the header.
    """
    ordered = {name: tensors[name] for name in sorted(tensors)}
    content: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, rows in ordered.items():
        end = start + 4 * rows.numel()
        content[name] = {"dtype": "I32", "shape": list(rows.shape), "data_offsets": [start, end]}
        start = end
    header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for rows in ordered.values():
            at_once = max(1, WIDENED_NUMBERS // max(1, rows[:1].numel()))
            for some in rows.split(at_once):
                file.write(some.contiguous().numpy().astype("<i4").data)


@contextmanager
def open_tensors(path: str | Path) -> Iterator[safe_open]:
    """Open a safetensors file, memory-mapped, on the CPU.

    Raises:
        InputError: the file is absent, truncated or not a safetensors file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except SafetensorError as error:
        raise InputError(
            f"{path} is damaged or truncated ({error}). Delete it and run again."
        ) from None


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file."""
    with open_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(  # noqa: SIM118
            file.metadata() or {}
        )


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, independent of the mapping's order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sealed(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """`metadata` with a checksum of it and of the tensors, for `check_seal`."""
    return {**metadata, _SEAL: _seal(tensors, metadata)}


def check_seal(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Compare what was read from `path` with what was sealed; earlier versions sealed nothing.

    Raises:
        InputError: it is not the same.
    """
    rest = {name: value for name, value in metadata.items() if name != _SEAL}
    if metadata.get(_SEAL, wanted := _seal(tensors, rest)) != wanted:
        raise InputError(
            f"{path} is damaged: its checksum does not match. Delete it and run again."
        )


def seal_of(path: str | Path) -> str:
    """The checksum that a file was sealed with, without reading the tensors.

    Raises:
        InputError: as `open_tensors`.
    """
    with open_tensors(path) as file:
        return (file.metadata() or {}).get(_SEAL, "")


def _seal(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    told = json.dumps([checksum(tensors), sorted(metadata.items())])
    return hashlib.sha256(told.encode()).hexdigest()
