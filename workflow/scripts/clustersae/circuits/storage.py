"""Recordings of a task on disk: made once for a model, read by the job of every arm."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clustersae.circuits.pairs import TENSORS, Pairs
from clustersae.circuits.recording import CleanRun, Recording
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors, save_tensors

_STREAMS = ("clean", "corrupted", "gradients")
_METRICS = ("clean_metric", "corrupted_metric")


def save_recordings(
    path: Path, recordings: Sequence[Recording], runs: Sequence[CleanRun], fingerprint: str
) -> None:
    """Write recordings and clean runs, pairwise of the same length; also if there are none.

    Args:
        recordings: all of the same layers.
        fingerprint: of the model (`models.description.fingerprint`).
    """
    tensors: dict[str, torch.Tensor] = {}
    for number, (recording, run) in enumerate(zip(recordings, runs, strict=True)):
        for split, pairs in (("train", recording.pairs), ("test", run.pairs)):
            for name in TENSORS:
                tensors[f"{number}.{split}.{name}"] = getattr(pairs, name)
        for name in _STREAMS:
            streams = list(getattr(recording, name).values())
            tensors[f"{number}.stream.{name}"] = torch.stack(streams)
        for split, masked in (("train", recording.masked), ("test", run.masked)):
            if masked is not None:
                tensors[f"{number}.{split}.masked"] = masked
        for name in _METRICS:
            tensors[f"{number}.{name}"] = getattr(recording, name)
        tensors[f"{number}.x"], tensors[f"{number}.metric"] = run.x, run.metric
    metadata = {"fingerprint": fingerprint, "n_groups": str(len(recordings))}
    if runs:
        metadata |= {"first": str(runs[0].pairs.first), "layer": str(runs[0].layer)}
        metadata["layers"] = " ".join(map(str, recordings[0].clean))
    save_tensors(path, tensors, metadata)


def load_recordings(
    path: Path, fingerprint: str, device: torch.device | str = "cpu"
) -> tuple[list[Recording], list[CleanRun]]:
    """What `save_recordings` has written, on `device`.

    Raises:
        InputError: the file is damaged, holds something else, or belongs to another model.
    """
    tensors, metadata = load_tensors(path)
    n_groups = int(metadata.get("n_groups", -1))
    known = n_groups == 0 or (n_groups > 0 and "layers" in metadata)
    if metadata.get("fingerprint") != fingerprint or not known:
        raise InputError(
            f"{path} holds no recordings of this model (fingerprint"
            f" {metadata.get('fingerprint', 'none')[:12]}, expected {fingerprint[:12]})."
            " Delete it and run again."
        )
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    layers = [int(layer) for layer in metadata.get("layers", "").split()]
    recordings, runs = [], []
    for number in range(n_groups):
        train, test = (
            _pairs(tensors, f"{number}.{split}", int(metadata["first"]))
            for split in ("train", "test")
        )
        clean, corrupted, gradients = (
            dict(zip(layers, tensors[f"{number}.stream.{name}"].unbind(), strict=True))
            for name in _STREAMS
        )
        in_train, in_test = (tensors.get(f"{number}.{split}.masked") for split in ("train", "test"))
        on_clean, on_corrupted = (tensors[f"{number}.{name}"] for name in _METRICS)
        recordings.append(
            Recording(train, clean, corrupted, gradients, on_clean, on_corrupted, in_train)
        )
        x, metric = tensors[f"{number}.x"], tensors[f"{number}.metric"]
        runs.append(CleanRun(test, int(metadata["layer"]), x, metric, in_test))
    return recordings, runs


def _pairs(tensors: Mapping[str, torch.Tensor], prefix: str, first: int) -> Pairs:
    found: dict[str, Any] = {name: tensors[f"{prefix}.{name}"] for name in TENSORS}
    return Pairs(**found, first=first)
