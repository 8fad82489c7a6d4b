"""From the files of a job to the trainings that it runs: one for each learning rate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.shards import Shard
from clustersae.activations.statistics import check_described, load_statistics
from clustersae.experiment.clusters import VIA, layers_of
from clustersae.experiment.sae_settings import SAESettings, resolve
from clustersae.experiment.variants import EVERY_LAYER, kind_of, times_read
from clustersae.experiment.windows import Windows, first_step, parts_of
from clustersae.runtime.files import read_json
from clustersae.sae.fitting import Activations, Fit, Leg, fit
from clustersae.sae.start import Start, load_start


@dataclass(frozen=True)
class Training:
    """One SAE to train: which it is, what it reads, what it starts from.

    Attributes:
        name: its cluster `0-4`, or `3@0-4` or `3~0-2` if it starts from another.
        config: the section `sae` of the configuration; `specialise` is read for such alone.
    """

    name: str
    variant: str
    seed: int
    config: Mapping[str, Any]
    data: Activations
    start: Start | None = None

    def settings(self, rate: float | None) -> SAESettings:
        """At one of its learning rates, which decide nothing else."""
        d_model = self.data.mean.shape[1]
        n_layers = len(self.data.layers)
        return resolve(self.config, self.variant, n_layers, d_model, self.seed, rate)

    @cached_property
    def first_step(self) -> int:
        """Where it goes on in the stream of batches."""
        return first_step(self.config, self.variant, self.name)

    @cached_property
    def ends(self) -> dict[int, int]:
        """Window → how many steps are done when it has been read; empty where all are mixed."""
        if self.data.windows is None:
            return {}
        parts = parts_of(self.data.windows, self.config, self.variant, self.name)
        return {window: steps.stop - self.first_step for window, steps in parts.items()}

    def fits(
        self,
        rates: Sequence[float | None],
        folder: Path,
        devices: Sequence[torch.device],
        code: str,
        window: int | None = None,
        before: Path | None = None,
        after: Path | None = None,
    ) -> list[Callable[[], Fit]]:
        """The trainings, one for each rate, to be called one after the other.

        Args:
            folder: where interrupted ones leave their checkpoints.
            devices: one, or those over which the latents are spread.
            window: to train to the end of that window; to the last step without.
            before: folder of the checkpoints to go on from. A rate that has none there diverged
                (see `diverged_before`).
            after: folder for those of the end.
        """
        data = self.data
        if len(devices) == 1:
            any_rate, d_model = self.settings(None), self.data.mean.shape[1]
            needed = any_rate.step_bytes(d_model)
            if len(rates) > 1:  # the best SAE so far is there as well
                needed += any_rate.weight_bytes(d_model)
            data = data.held_on(devices[0], any_rate.n_activations * len(rates), needed)
        found: list[Callable[[], Fit]] = []
        for number, rate in enumerate(rates):
            checkpoint = f"checkpoint-{number}.safetensors"
            settings = self.settings(rate)
            leg = Leg(
                settings.n_steps if window is None else self.ends[window],
                before / checkpoint if before else None,
                after / checkpoint if after else None,
            )
            if leg.before and len(rates) > 1 and not leg.before.exists():
                continue
            found.append(
                partial(
                    fit_on,
                    devices,
                    data=data,
                    settings=settings,
                    checkpoint_file=folder / checkpoint,
                    label=f"SAE {self.name}, {self.variant}, seed {self.seed}",
                    code=code,
                    start=self.start,
                    first_step=self.first_step,
                    keep=len(rates) > 1,
                    leg=leg,
                )
            )
        return found


def diverged_before(before: Path | None) -> list[Mapping[str, float]]:
    """What rates cost that diverged in windows before, from the record of the last of them.

    Args:
        before: folder of that one's checkpoints, which the record lies beside.
    """
    return list(read_json(Path(f"{before}.json"))["diverged"]) if before else []


def fit_on(devices: Sequence[torch.device], **arguments: Any) -> Fit:
    """`fit` on one device, or with the latents spread over several of one machine.

    Raises:
        InputError: as `fit`; or the SAE cannot be spread.
    """
    if len(devices) == 1:
        return fit(where=devices[0], **arguments)
    # PyTorch's module for it takes half a second, which every training would pay.
    from clustersae.sae.sharded import fit_spread

    return fit_spread(devices, **arguments)


def prepare(
    shards: Sequence[Shard],
    statistics: Path,
    name: str,
    variant: str,
    seed: int,
    config: Mapping[str, Any],
    windows: Mapping[str, int] | None = None,
    start: Path | None = None,
) -> Training:
    """What an SAE is trained on, from shards that are open and files that are not.

    Args:
        shards: of the training split; of the window alone where others are gone.
        statistics: the layers' means and scales on the training split.
        windows: the fields of `Windows`; None where all shards are mixed.
        start: folder of the SAE to start from.

    Raises:
        InputError: a file is damaged or foreign.
    """
    layers = layers_of(name)
    fingerprint = shards[0].metadata["fingerprint"]
    described = load_statistics(statistics, fingerprint, layers)
    check_described(statistics, shards)
    data = Activations(
        shards,
        layers,
        described.mean,
        described.scale_by(config["normalisation"]),
        kind_of(variant) == EVERY_LAYER,
        Windows(**windows) if windows else None,
        times_read(variant, len(layers)),
    )
    began = load_start(start, fingerprint, is_other_layer=VIA in name) if start else None
    return Training(name, variant, seed, config, data, began)
