"""From settings to a trained SAE: where it starts, what it reads, at which learning rate.

A specialised SAE takes over the weights of the SAE that it starts from and reads on where that
one stopped, so that one budget of tokens is not spent twice on the same ones. One that starts from
the SAE of another layer begins with the first tokens: of its own layer nothing has been read.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clustersae.activations.aligned import aligned_batches
from clustersae.activations.batches import normalised_batches, seed_of_window
from clustersae.activations.shards import Shard
from clustersae.experiment.sae_settings import SAESettings
from clustersae.experiment.windows import Course, Windows
from clustersae.runtime import device
from clustersae.runtime.checkpoint import Checkpoint, identity
from clustersae.runtime.errors import InputError
from clustersae.runtime.memory import enough_memory
from clustersae.runtime.meter import Meter
from clustersae.runtime.stopping import listening
from clustersae.runtime.tensors import checksum, seal_of
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.registry import create
from clustersae.sae.start import Start
from clustersae.sae.training import Diverged, Trainer, alone, train

logger = logging.getLogger(__name__)

#: Of a GPU's free memory, for activations.
HELD_SHARE = 0.25


class Activations(NamedTuple):
    """What an SAE is trained on: its layers of the training shards, and their normalisation.

    Each token is read so many `times`, at one of the layers each time; with `every_layer` at all of
    them at once. With `windows` the shards are read one window after the other; those of other
    windows than the steps need may be absent.
    """

    shards: Sequence[Shard]
    layers: tuple[int, ...]
    mean: torch.Tensor  # [n_cluster_layers, d_model]
    scale: torch.Tensor  # [n_cluster_layers], or [n_cluster_layers, d_model]
    every_layer: bool = False
    windows: Windows | None = None
    times: int = 1

    def parts(
        self, settings: SAESettings, steps: range
    ) -> Iterator[tuple["Activations", int, range]]:
        """What is mixed in which of `steps`, the seed of its order, and the steps within it.

        Raises:
            InputError: a shard that is needed is not there.
        """
        if self.windows is None:
            yield self, settings.seed, steps
            return
        course = Course(self.windows, settings.batch_size, self.times)
        for window, own in course.parts(steps):
            first = course.first_step(window)
            within = range(own.start - first, own.stop - first)
            yield self.of_window(window), seed_of_window(settings.seed, window), within

    def limit(self, settings: SAESettings) -> int | None:
        """The tokens that are passed over again and again; None where all are, or a window's."""
        if self.windows or self.every_layer or self.times == 1:
            return None
        return settings.n_activations // self.times

    def held_on(self, where: torch.device, n_activations: int, needed: int = 0) -> "Activations":
        """The same in the memory of a GPU, if that has room and as many are read as are copied.

        A quarter of what is free there is taken at most: other jobs may share the GPU.

        Args:
            n_activations: that trainings will read.
            needed: bytes that these take themselves, which are left to them.
        """
        n_rows = len(self.layers) * sum(shard.n_rows for shard in self.shards)
        if where.type in ("cpu", self.shards[0].device.type) or n_activations < n_rows:
            return self
        size = sum(shard.held_bytes(self.layers) for shard in self.shards)
        free = device.free_bytes(where)
        if size > min(free * HELD_SHARE, free - needed):
            return self
        logger.info("%.2g GiB of activations are held on %s.", size / 2**30, where)
        return self._replace(shards=[each.held_on(where, self.layers) for each in self.shards])

    def of_window(self, window: int) -> "Activations":
        """The same with the shards of one window alone."""
        assert self.windows is not None
        numbers = self.windows.shards(window)
        shards = [shard for shard in self.shards if shard.index in numbers]
        if len(shards) != len(numbers):
            raise InputError(
                f"Window {window} of the stream of tokens is made of the shards {numbers[0]} to"
                f" {numbers[-1]}, of which {len(shards)} are given."
            )
        return self._replace(shards=shards)


class Leg(NamedTuple):
    """A part of a training: what is trained while one window's shards are there.

    Attributes:
        until: how many steps are done at its end.
        before: checkpoint to go on from; None where the training begins.
        after: where the end is saved for the next leg; None where the training ends.
    """

    until: int
    before: Path | None = None
    after: Path | None = None


@dataclass
class Fit:
    """A finished training, or leg of one.

    Attributes:
        first_step: what the SAE that it started from had read, in batches of its own size.
        record: what it cost, as of `Meter`; the step at which it was taken up again; what did its
            steps.
    """

    sae: SparseAutoencoder
    settings: SAESettings
    first_step: int
    history: list[dict[str, Any]]
    record: dict[str, Any]


def fit(
    data: Activations,
    settings: SAESettings,
    checkpoint_file: Path,
    label: str,
    where: torch.device,
    code: str = "",
    start: Start | None = None,
    first_step: int = 0,
    keep: bool = False,
    leg: Leg | None = None,
    trainer_for: Callable[[SparseAutoencoder, SAESettings, torch.device], Trainer] = alone,
) -> Fit:
    """Train one SAE, going on from `checkpoint_file` if an interrupted training left it.

    Args:
        label: for messages; it takes part in the checkpoint's identity, too.
        code: digest of the code; an interrupted training of other code is not continued.
        start: what to start from; from scratch without.
        first_step: where to go on in the stream of batches, if not at its beginning.
        keep: it is one of several of a job, which a signal ends here as well, whatever became of
            it; a finished one is saved there, too, so that none is lost.
        leg: train no more than this; by default, to the last step.
        trainer_for: makes the trainer; several of one SAE, in as many processes, train together.

    Raises:
        InputError: what the leg begins with is damaged or of another training.
        Stopped: a signal has come.
    """
    leg = leg or Leg(settings.n_steps)
    sae = create(asdict(settings), data.layers, data.mean, data.scale)
    sae.initialise(torch.Generator().manual_seed(settings.seed))
    if start:
        sae.take_over(start.sae, start.is_other_layer)
    n_gib = 4 * settings.weight_bytes(data.mean.shape[1]) / 2**30
    with enough_memory(
        f"an SAE of {settings.d_sae:,} latents, {n_gib:.2g} GiB with gradients and moments,",
        "Lower sae.expansion_factor or sae.d_sae, free the GPU, or give the job several (resource"
        " gpu; of the architecture topk).",
    ):
        trainer = trainer_for(sae, settings, where)
    meter = Meter(where, trainer.n_devices)
    training = {
        "label": label,
        "code": code,
        "torch": torch.__version__,
        "step": trainer.optimise.name,
        "start": start.checksum if start else "",
        # What batches are normalised by, and what the saved SAE holds, must be the same.
        "normalisation": checksum({"mean": data.mean, "scale": data.scale}),
        "windows": asdict(data.windows) if data.windows else None,
    }
    own = {
        "shards": [shard.checksums for shard in data.shards],
        "before": seal_of(leg.before) if leg.before else "",
    }
    checkpoint = Checkpoint(
        checkpoint_file,
        identity(settings, **training, **own),
        elapsed=meter.elapsed,
        # What the shards before were, nothing here can tell: who runs the legs sees to that.
        whole=identity(settings, **training),
        writes=trainer.writes,
    )
    checkpoint.restore(trainer, leg.before)
    resumed_at = trainer.step_number
    for shard in data.shards:  # checksums are compared at the first touch, which is no part of T
        for layer in data.layers:
            shard.verify(layer)

    def after_step(trainer: Trainer, history: list[dict[str, Any]]) -> None:
        due, asked_by = trainer.agree(checkpoint.due(), stop.asked_by)
        if due or asked_by is not None:
            checkpoint.save(trainer, history)
        if asked_by is not None:
            stop.asked_by = asked_by
            logger.warning("Asked to stop: step %d is saved.", trainer.step_number)
            stop.check()

    try:
        with meter, listening() as stop:
            steps = range(first_step + resumed_at, first_step + leg.until)
            batches = batches_of(data, settings, steps, where, sae.joint)
            history = train(trainer, batches, label, after_step, leg.until)
        if keep:
            checkpoint.save(trainer, history)
        if leg.after:
            checkpoint.hand_over(trainer, history, leg.after)
    except Diverged as error:
        error.cost = {
            "learning_rate": settings.learning_rate,
            "seconds": meter.record["seconds"] + checkpoint.seconds,
            "share": trainer.step_number / settings.n_steps,
        }
        if keep:
            stop.check()
        raise
    seconds = meter.record["seconds"] + checkpoint.seconds
    record = meter.record | {"seconds": seconds, "resumed_at_step": resumed_at}
    record["step"] = trainer.optimise.name
    whole = trainer.whole()
    whole.zero_grad()  # those of the last step, as large as the weights
    if keep:
        stop.check()
    return Fit(whole, settings, first_step, checkpoint.history + history, record)


def batches_of(
    data: Activations, settings: SAESettings, steps: range, where: torch.device, joint: bool
) -> Iterator[torch.Tensor]:
    """The batches of `steps`, counted from the beginning of the stream of tokens.

    Args:
        joint: a row is a token at all layers.
    """
    for mixed, seed, own in data.parts(settings, steps):
        stream = (mixed.shards, data.layers, data.mean, data.scale)
        how = (settings.batch_size, seed, own, where)
        if joint:
            yield from aligned_batches(*stream, *how)
        else:
            yield from normalised_batches(*stream, *how, data.every_layer, data.limit(settings))
