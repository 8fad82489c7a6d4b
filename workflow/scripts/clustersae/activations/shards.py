"""Activation shards: the residual stream of some tokens at every layer, in one file.

A shard is a safetensors file with `layer.{l}` [n_rows, d_model] for every layer l, and `token`,
`position` and `sequence` int32 [n_rows]: the token's id, its column, and its row in the token
file. One row is one token, the same in all tensors. Rows are shuffled, so that consecutive rows
are a random sample of the shard and reading can stay sequential.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import checksum, load_tensors, save_tensors

#: Data types in which activations are stored.
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

_REMEDY = "Delete it and run again."

#: Prefix of the metadata entries that hold the checksum of each tensor.
_CHECKSUM = "checksum."

#: What must be equal in shards that are read together.
_COMMON = ("fingerprint", "hook", "dtype", "split", "seed", "n_layers", "d_model")


def permutation(seed: int, split: str, shard: int, n_rows: int) -> torch.Tensor:
    """Where each row of a shard goes, int64 [n_rows]; a pure function of the arguments."""
    digest = hashlib.sha256(f"{seed} {split} {shard}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    return torch.randperm(n_rows, generator=generator)


def write_shard(
    path: Path,
    layers: Sequence[torch.Tensor],
    token: torch.Tensor,
    position: torch.Tensor,
    sequence: torch.Tensor,
    *,
    fingerprint: str,
    hook: str,
    split: str,
    shard: int,
    seed: int,
) -> None:
    """Write the activations of one shard, whole or not at all.

    Args:
        layers: the stream at every layer, each [n_rows, d_model], rows already shuffled.
        token, position, sequence: int32 [n_rows].
        fingerprint: of the model (`models.description.fingerprint`).
    """
    tensors = {f"layer.{index}": x for index, x in enumerate(layers)}
    tensors |= {"token": token, "position": position, "sequence": sequence}
    metadata = {
        "fingerprint": fingerprint,
        "hook": hook,
        "dtype": str(layers[0].dtype).removeprefix("torch."),
        "split": split,
        "shard": str(shard),
        "seed": str(seed),
        "n_layers": str(len(layers)),
        "d_model": str(layers[0].shape[1]),
    }
    sums = {f"{_CHECKSUM}{name}": checksum({name: tensor}) for name, tensor in tensors.items()}
    save_tensors(path, tensors, metadata | sums)


class Shard:
    """One open shard. Tensors are memory-mapped: a slice reads only its own part of the file.

    The checksum of a tensor is compared when the tensor is first asked for, so that nothing
    damaged is ever read, and a job reads no more of the file than it uses (about 1 GB/s).

    Attributes:
        path, metadata: where it lies, and the strings stored with it.
        index: zero-based number of the shard within its split.
        n_rows, n_layers, d_model: its size.
    """

    def __init__(self, path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]):
        self.path, self.metadata, self._tensors = Path(path), metadata, tensors
        self.index = int(metadata["shard"])
        self.n_layers = int(metadata["n_layers"])
        self.n_rows, self.d_model = tensors["layer.0"].shape
        self._verified: set[str] = set()

    @property
    def checksums(self) -> list[str]:
        """Checksums of all tensors: two shards hold the same exactly when these agree."""
        names = sorted(name for name in self.metadata if name.startswith(_CHECKSUM))
        return [f"{name} {self.metadata[name]}" for name in names]

    def _tensor(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        if name not in self._verified:
            if checksum({name: tensor}) != self.metadata[_CHECKSUM + name]:
                raise InputError(
                    f"{self.path} is damaged: the checksum of {name} does not match. {_REMEDY}"
                )
            self._verified.add(name)
        return tensor

    def layer(self, layer: int, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Rows `start` to `stop` of the stream at `layer`, [n_rows, d_model], in the stored dtype.

        A view of the mapped file, not to be written to.

        Raises:
            InputError: there is no such layer, or the file is damaged.
        """
        if not 0 <= layer < self.n_layers:
            raise InputError(f"{self.path} holds layers 0 to {self.n_layers - 1}, not {layer}.")
        return self._tensor(f"layer.{layer}")[start:stop]

    def tokens(self) -> torch.Tensor:
        """Id of each row's token, int32 [n_rows]."""
        return self._tensor("token")

    def positions(self) -> torch.Tensor:
        """Column of each row's token in the token file, int32 [n_rows]."""
        return self._tensor("position")

    def sequences(self) -> torch.Tensor:
        """Row of each row's token in the token file, int32 [n_rows]."""
        return self._tensor("sequence")


def open_shard(path: Path, fingerprint: str | None = None) -> Shard:
    """Open a shard and refuse it if it is foreign or not whole.

    Args:
        fingerprint: of the model whose activations are expected; None accepts any.

    Raises:
        InputError: naming the file and the reason.
    """
    tensors, metadata = load_tensors(path)
    needed = {*_COMMON, "shard", *(_CHECKSUM + name for name in tensors)}
    missing = sorted(needed - metadata.keys())
    if missing or "layer.0" not in tensors:
        what = f"lacks {', '.join(missing[:3])}" if missing else "holds no layer"
        raise InputError(f"{path} is not a shard of activations: it {what}.")
    if fingerprint is not None and metadata["fingerprint"] != fingerprint:
        raise InputError(
            f"{path} holds activations of another model (fingerprint"
            f" {metadata['fingerprint'][:12]}, expected {fingerprint[:12]}). {_REMEDY}"
        )
    return Shard(path, tensors, metadata)


def open_shards(paths: Iterable[Path], fingerprint: str | None = None) -> list[Shard]:
    """Open shards of one split, ordered by their index (see `open_shard`).

    Raises:
        InputError: also if they differ in model, split, dtype, seed or size, or one comes twice.
    """
    shards = sorted(
        (open_shard(path, fingerprint) for path in paths), key=lambda shard: shard.index
    )
    if not shards:
        raise InputError("No shards of activations were given.")
    first = shards[0]
    for before, shard in itertools.pairwise(shards):
        for key in _COMMON:
            if shard.metadata[key] != first.metadata[key]:
                raise InputError(
                    f"{shard.path} does not belong with {first.path}: {key} is"
                    f" {shard.metadata[key]} instead of {first.metadata[key]}."
                    " Delete the older one and run again."
                )
        if shard.index == before.index:
            raise InputError(f"{shard.path} and {before.path} are both shard {shard.index}.")
    return shards
