"""Activation shards: the residual stream of some tokens at every studied layer, in one file.

A shard is a safetensors file with `layer.{l}` [n_rows, d_model] for every studied layer l, and
`token`, `position` and `sequence` int32 [n_rows]: the token's id, its column, and its row in the
token file. One row is one token, the same in all tensors. Rows are shuffled, so that consecutive
rows are a random sample of the shard and reading can stay sequential.

Narrow dtypes hold the difference to `centre` float32 [n_layers, d_model]; readers add it again.
int8 holds it in units of `scale.layer.{l}` float32 [n_rows], one for each row and layer.
Tokens that are left out are few and lie apart: `left_out` int32 [4, n_left_out] with token,
position, sequence and `mask.Reason`, and `left_out.layer.{l}` float32 [n_left_out, d_model].
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import parsed_json
from clustersae.runtime.tensors import check_seal, checksum, load_tensors, save_tensors, sealed

#: Data types in which activations are stored.
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}

_REMEDY = "Delete it and run again."

#: Prefix of the metadata entries that hold the checksum of each tensor.
_CHECKSUM = "checksum."

#: Prefix of the tensors that hold the scales of a layer's rows.
_SCALE = "scale.layer."

#: What must be equal in shards that are read together.
_COMMON = ("fingerprint", "hook", "dtype", "split", "seed", "layers", "d_model", "mask")


class LeftOut(NamedTuple):
    """Tokens of a shard that are not analysed."""

    tokens: torch.Tensor  # int32 [4, n_left_out]: token, position, sequence, reason
    layers: list[torch.Tensor]  # per studied layer float32 [n_left_out, d_model]


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
    studied: Sequence[int] | None = None,
    centre: torch.Tensor | None = None,
    rounding: torch.Tensor | None = None,
    left_out: LeftOut | None = None,
    mask: Mapping[str, Any] | None = None,
    scales: Sequence[torch.Tensor] = (),
) -> None:
    """Write the activations of one shard, whole or not at all.

    Args:
        layers: the stream at every studied layer, each [n_rows, d_model], rows already shuffled.
        token, position, sequence: int32 [n_rows].
        fingerprint: of the model (`models.description.fingerprint`).
        studied: indices of these layers in the model; None for the first ones.
        centre: what was subtracted from them, float32 [n_layers, d_model].
        rounding: float64 [n_layers], sum over tokens and dimensions of the squares of what
            rounding to the dtype has changed.
        left_out: tokens that are not analysed.
        mask: which tokens these are, as cfg.json of an SAE will have it.
        scales: of int8 layers, each float32 [n_rows].
    """
    studied = range(len(layers)) if studied is None else studied
    width = layers[0].shape[1]
    left = left_out or LeftOut(
        torch.zeros(4, 0, dtype=torch.int32), [torch.zeros(0, width) for _ in layers]
    )
    tensors = {f"layer.{index}": x for index, x in zip(studied, layers, strict=True)}
    tensors |= {"token": token, "position": position, "sequence": sequence}
    tensors["left_out"] = left.tokens
    tensors |= {f"left_out.layer.{index}": x for index, x in zip(studied, left.layers)}
    tensors |= {f"{_SCALE}{index}": each for index, each in zip(studied, scales)}
    if centre is not None:
        tensors["centre"] = centre
    tensors["rounding"] = (
        torch.zeros(len(layers), dtype=torch.float64) if rounding is None else rounding
    )
    metadata = {
        "fingerprint": fingerprint,
        "hook": hook,
        "dtype": str(layers[0].dtype).removeprefix("torch."),
        "split": split,
        "shard": str(shard),
        "seed": str(seed),
        "layers": json.dumps(list(studied)),
        "d_model": str(width),
        "mask": json.dumps(mask),
    }
    sums = {f"{_CHECKSUM}{name}": checksum({name: tensor}) for name, tensor in tensors.items()}
    # The sums tell what tensors hold, and the seal what else is said of them.
    save_tensors(path, tensors, sealed({}, metadata | sums), with_checksums=True)


class Shard:
    """One open shard. Tensors are memory-mapped: a slice reads only its own part of the file.

    The checksum of a tensor is compared when the tensor is first asked for, so that nothing
    damaged is ever read, and a job reads no more of the file than it uses (about 1 GB/s).

    Attributes:
        path, metadata: where it lies, and the strings stored with it.
        index: zero-based number of the shard within its split.
        layers: the studied layers, as indices in the model.
        mask: which tokens are left out, as `write_shard` was told.
        n_rows, d_model: its size.
    """

    def __init__(self, path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]):
        self.path, self.metadata, self._tensors = Path(path), metadata, tensors
        self.index = int(metadata["shard"])
        self.layers: tuple[int, ...] = tuple(parsed_json(metadata["layers"]))
        self.mask: Any = parsed_json(metadata["mask"])
        self.n_rows, self.d_model = self._any_layer().shape
        self._verified: set[str] = set()

    def __reduce__(self) -> tuple:
        """Another process opens the file itself."""
        return open_shard, (self.path,)

    @property
    def device(self) -> torch.device:
        return self._any_layer().device

    def _any_layer(self) -> torch.Tensor:
        return next(x for name, x in self._tensors.items() if name.startswith("layer."))

    def _needed(self, layers: Sequence[int]) -> list[str]:
        """The tensors that rows of these layers are restored from."""
        names = {"centre", *(f"{part}{each}" for each in layers for part in ("layer.", _SCALE))}
        return [name for name in self._tensors if name in names]

    def held_bytes(self, layers: Sequence[int]) -> int:
        """What `held_on` takes."""
        return sum(self._tensors[name].nbytes for name in self._needed(layers))

    def held_on(self, device: torch.device | str, layers: Sequence[int]) -> "Shard":
        """The rows of some layers in the memory of `device`, every checksum compared.

        Where activations fit on a GPU, batches then never wait for the host. What is no layer's
        stream (tokens, what was left out) is not there.
        """
        tensors = {name: self._tensor(name).to(device) for name in self._needed(layers)}
        held = Shard(self.path, tensors, self.metadata)
        held._verified = set(tensors)
        return held

    @property
    def checksums(self) -> list[str]:
        """Checksums of all tensors: two shards hold the same exactly when these agree."""
        names = sorted(name for name in self.metadata if name.startswith(_CHECKSUM))
        return [f"{name} {self.metadata[name]}" for name in names]

    @property
    def digest(self) -> str:
        """Of these."""
        return hashlib.sha256("\n".join(self.checksums).encode()).hexdigest()

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
        """Rows `start` to `stop` of the stream at `layer`, float32 [n_rows, d_model].

        A view of the mapped file where that holds float32: not to be written to.

        Raises:
            InputError: there is no such layer, or the file is damaged.
        """
        return self._restored(layer, slice(start, stop))

    def rows(self, layer: int, rows: torch.Tensor) -> torch.Tensor:
        """Some rows, int64 [n], of the stream at `layer`, float32 [n, d_model]."""
        return self._restored(layer, rows)

    def verify(self, layer: int) -> None:
        """Compare the checksum of a layer now instead of when it is first read."""
        self._restored(layer, slice(0))

    def _stored(self, layer: int) -> torch.Tensor:
        if layer not in self.layers:
            raise InputError(f"{self.path} holds the layers {list(self.layers)}, not {layer}.")
        return self._tensor(f"layer.{layer}")

    def _restored(self, layer: int, rows: slice | torch.Tensor) -> torch.Tensor:
        x = self._stored(layer)[rows].float()
        if f"{_SCALE}{layer}" in self._tensors:
            x *= self._tensor(f"{_SCALE}{layer}")[rows][:, None]
        if "centre" not in self._tensors:
            return x
        return x + self._tensor("centre")[self.layers.index(layer)]

    def left_out(self, layer: int) -> torch.Tensor:
        """The stream of the tokens that are left out, float32 [n_left_out, d_model]."""
        return self._tensor(f"left_out.layer.{layer}")

    def reasons(self) -> torch.Tensor:
        """Why they are, int32 [n_left_out], see `mask.Reason`."""
        return self._tensor("left_out")[3]

    def rounding(self) -> torch.Tensor:
        """Σ of the squares that rounding has changed, float64 [n_layers]."""
        return self._tensor("rounding")

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
    if missing or not any(name.startswith("layer.") for name in tensors):
        what = f"lacks {', '.join(missing[:3])}" if missing else "holds no layer"
        raise InputError(f"{path} is not a shard of activations: it {what}. {_REMEDY}")
    if fingerprint is not None and metadata["fingerprint"] != fingerprint:
        raise InputError(
            f"{path} holds activations of another model (fingerprint"
            f" {metadata['fingerprint'][:12]}, expected {fingerprint[:12]}). {_REMEDY}"
        )
    try:
        shard = Shard(path, tensors, metadata)
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path} is not a shard of activations ({error}). {_REMEDY}") from None
    if not {f"layer.{layer}" for layer in shard.layers} <= tensors.keys():
        raise InputError(
            f"{path} is not a shard of activations: it lacks layers that it names. {_REMEDY}"
        )
    check_seal(path, {}, metadata)
    return shard


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
