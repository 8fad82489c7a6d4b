"""Can a model do a task, and does the task rest on what is taken apart? If so, its recordings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from clustersae.activations.mask import NormLimits
from clustersae.circuits.ablation import Ablation
from clustersae.circuits.curves import accuracy, why_unusable
from clustersae.circuits.dictionaries import residual_basis
from clustersae.circuits.faithfulness import Evaluation
from clustersae.circuits.gradients import Method
from clustersae.circuits.grouping import LEAST_TRAINING_PAIRS, group_pairs, matching_lengths
from clustersae.circuits.masking import count
from clustersae.circuits.pairs import device_of
from clustersae.circuits.recording import CleanRun, Recording, record, run_clean
from clustersae.circuits.tasks.prepare import TaskPairs
from clustersae.models.residual import ResidualStream
from clustersae.runtime.log import Progress
from clustersae.runtime.words import counted


class Assessment(NamedTuple):
    """Whether circuits for a task mean something, and what they are measured with if so."""

    record: dict[str, Any]
    recordings: list[Recording]  # none where the task is not usable
    runs: list[CleanRun]


def assess(
    stream: ResidualStream,
    task: TaskPairs,
    d_model: int,
    first: int,
    method: Method,
    ablation: Ablation,
    min_pairs: int,
    min_accuracy: float,
    min_gap: float,
    layers: Sequence[int] | None = None,
    limits: NormLimits | None = None,
    left_out: tuple[int, ...] = (),
) -> Assessment:
    """Try a task on its test prompts, and record its training prompts if the model can do it.

    Args:
        first: tokens at the beginning (BOS) that no SAE has seen.
        ablation: what m(∅) is measured with here; it does not depend on the SAEs but for `zero`.
        min_pairs: for training and for test each; what few prompts say means nothing.
        min_accuracy, min_gap: see `curves.why_unusable`.
        layers: of the model, ascending, that have SAEs; None: all.
        limits: positions outside them pass through unchanged; None: none is too far out.
        left_out: ids of special tokens, which pass through unchanged as well.
    """
    train, test = (group_pairs(pairs, first, left_out) for pairs in (task.train, task.test))
    lengths = matching_lengths(train, test)
    n_pairs = len(task.train) + len(task.test)
    n_kept = sum(len(split[length].clean) for split in (train, test) for length in lengths)
    lost = {str(loss): count for loss, count in task.lost.items()}
    lost["length_not_shared"] = n_pairs - n_kept  # by training and test pairs
    found: dict[str, Any] = {
        "task": task.task,
        "n_tried": task.n_tried,
        "n_usable": task.n_usable,
        "n_train": sum(len(train[length].clean) for length in lengths),
        "n_test": sum(len(test[length].clean) for length in lengths),
        "lost": {loss: count for loss, count in lost.items() if count},
        "accuracy": None,
        "logit_difference": None,
        "logit_difference_ablated": None,
        "ablation": ablation,
        "n_masked_train": None,
        "n_masked_test": None,
        "usable": False,
    }
    if not lengths or min(found["n_train"], found["n_test"]) < min_pairs:
        too_few = (
            f"fewer than {counted(min_pairs, 'pair')} for training or for test"
            f" ({found['n_train']} and {found['n_test']} of lengths with {LEAST_TRAINING_PAIRS} or"
            f" more for training). {task.summary()}"
        )
        return Assessment(found | {"reason": too_few}, [], [])
    layers = range(stream.n_layers) if layers is None else layers
    runs = [run_clean(stream, test[length], layers[0], limits=limits) for length in lengths]
    full = _metrics([run.metric for run in runs])
    found |= {"accuracy": accuracy(full), "logit_difference": float(full.mean())}
    found["n_masked_test"] = sum(count(run.masked) for run in runs)
    reason = why_unusable(full, np.full(len(full), -np.inf), min_accuracy, min_gap)
    if reason:
        return Assessment(found | {"reason": reason}, [], [])
    recordings = []
    progress = Progress("Recording pairs of prompts", found["n_train"])
    for length in lengths:
        pairs = train[length]
        recordings.append(record(stream, pairs, method, layers=layers, limits=limits))
        progress.update(len(pairs.clean))
    progress.close()
    found["n_masked_train"] = sum(count(recording.masked) for recording in recordings)
    basis = residual_basis(layers, d_model, device_of(stream))
    empty = _metrics([Evaluation(stream, basis, recordings, runs, ablation).empty])
    reason = why_unusable(full, empty, min_accuracy, min_gap)
    found |= {
        "logit_difference_ablated": float(empty.mean()),
        "usable": reason is None,
        "reason": reason,
    }
    return Assessment(found, *(([], []) if reason else (recordings, runs)))


def _metrics(parts: list[torch.Tensor]) -> np.ndarray:
    return torch.cat(parts).double().cpu().numpy()
