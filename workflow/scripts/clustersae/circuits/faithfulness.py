"""m of the circuits of many sizes, on test prompts.

All circuits of a sweep, and what is left without them, run as one batch of circuits × prompts, cut
into chunks that fit into memory. What does not depend on the circuit is done once: the clean pass
(m(M)), the first layer's latents, the stand-ins, and m(∅).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from clustersae.circuits.ablation import Ablation
from clustersae.circuits.dictionaries import Dictionaries
from clustersae.circuits.nodes import Circuits, Errors, Nodes
from clustersae.circuits.recording import MAX_ENTRIES, CleanRun, Recording
from clustersae.circuits.running import PromptGroup
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError

#: Of a chunk on a CPU: what fits into its cache is done faster, by 6 and 16 % on two demo tasks.
CPU_ENTRIES = 2**22


class Sweep(NamedTuple):
    """m of every prompt, float64; prompts in the order of the clean runs."""

    sizes: np.ndarray  # int64 [S]
    circuit: np.ndarray  # [S, n_prompts], m(C)
    complement: np.ndarray  # [S, n_prompts], m(M∖C)
    empty: np.ndarray  # [n_prompts], m(∅)
    full: np.ndarray  # [n_prompts], m(M)


class Evaluation:
    """Circuits in one set of dictionaries with one ablation.

    Args:
        recordings: training prompts, which give the stand-ins; gradients are not used.
        runs: clean runs on test prompts, of the lowest layer that has a dictionary. Each needs a
            recording of prompts with as many tokens.
        seed: of the draws of `resample`.
        max_entries: numbers that a chunk holds at once; None: what suits the device.

    Raises:
        InputError: clean runs of another layer, or of a length that no recording has.
    """

    def __init__(
        self,
        stream: ResidualStream,
        dictionaries: Dictionaries,
        recordings: Sequence[Recording],
        runs: Sequence[CleanRun],
        ablation: Ablation,
        seed: int = 0,
        max_entries: int | None = None,
    ) -> None:
        self.nodes = Nodes(dictionaries)
        self.full = torch.cat([run.metric for run in runs])
        if max_entries is None:
            max_entries = CPU_ENTRIES if self.full.device.type == "cpu" else MAX_ENTRIES
        by_length = {_shape(recording): recording for recording in recordings}
        for run in runs:
            _check(run, by_length, self.nodes.layers[0])
        self._groups = [
            PromptGroup(
                stream, dictionaries, by_length[_shape(run)], run, ablation, seed + index,
                max_entries,
            )
            for index, run in enumerate(runs)
        ]  # fmt: skip
        nothing = torch.zeros(1, dtype=torch.int64, device=self.full.device)
        ranks = torch.zeros(self.nodes.n_nodes, dtype=torch.int64, device=self.full.device)
        self.empty = self.metrics(Circuits(ranks, nothing, nothing.bool(), "ablated"))[0]

    def metrics(self, circuits: Circuits) -> torch.Tensor:
        """m of every circuit on every prompt, [S, n_prompts]."""
        return torch.cat([group.metrics(self.nodes, circuits) for group in self._groups], 1)

    def sweep(self, scores: torch.Tensor, sizes: Sequence[int], errors: Errors = "nodes") -> Sweep:
        """m of the circuits of the nodes with the largest |score|, and of what they leave.

        Args:
            scores: [n_nodes], e.g. indirect effects.
            sizes: numbers of nodes, from 0 to `nodes.candidates(errors)`.

        Raises:
            InputError: a size is larger than the largest circuit.
        """
        largest = self.nodes.candidates(errors)
        if not sizes or min(sizes) < 0 or max(sizes) > largest:
            raise InputError(
                f"Circuits have 0 to {largest} nodes here: not the sizes {list(sizes)}."
            )
        device = self.full.device
        both = torch.tensor(sizes, device=device).repeat(2)
        complement = torch.arange(len(both), device=device) >= len(sizes)
        ranks = self.nodes.ranks(scores.to(device), errors)
        metrics = self.metrics(Circuits(ranks, both, complement, errors))
        inside, outside, empty, full = (
            part.double().cpu().numpy()
            for part in (metrics[: len(sizes)], metrics[len(sizes) :], self.empty, self.full)
        )
        return Sweep(np.array(sizes, dtype=np.int64), inside, outside, empty, full)


def _shape(group: Recording | CleanRun) -> tuple[int, int]:
    return group.pairs.n_tokens, group.pairs.first


def _check(run: CleanRun, by_length: dict[tuple[int, int], Recording], layer: int) -> None:
    if run.layer != layer:
        raise InputError(
            f"The clean run kept the stream after layer {run.layer}; the first dictionary is that"
            f" of layer {layer}: run it with layer={layer}."
        )
    if _shape(run) not in by_length:
        raise InputError(
            f"No training prompts have {run.pairs.n_tokens} tokens, analysed from token"
            f" {run.pairs.first} on, as the test prompts have: there is nothing to ablate with."
        )
