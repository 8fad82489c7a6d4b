"""The training of an SAE as experiment trackers read it, written from its history.csv.

Afterwards and apart: training knows nothing of it, so that it costs nothing where nobody asks, and
asking later trains nothing again.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from clustersae.runtime.errors import InputError


class Training(NamedTuple):
    """A finished training of an SAE."""

    model: str  # name in the results
    name: str  # {variant}/{sae}/seed-{seed}
    config: Mapping[str, Any]  # cfg.json
    history: pd.DataFrame  # history.csv, see presentation.tables.HISTORY
    ended: float  # seconds since 1970

    @property
    def times(self) -> pd.Series:
        """When each row was written, in seconds since 1970, from the speed that it notes."""
        n_read = self.history["activations"].diff().fillna(self.history["activations"].iloc[0])
        elapsed = (n_read / self.history["activations_per_second"].clip(lower=1)).cumsum()
        return self.ended - elapsed.iloc[-1] + elapsed

    @property
    def measures(self) -> pd.DataFrame:
        """FVU, L0, share of dead latents, learning rate and speed, by step."""
        return self.history.set_index("step").drop(columns="activations")


def write_tensorboard(folder: Path, training: Training) -> None:
    """An event file for TensorBoard, one scalar for every column, by step."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_text("cfg.json", f"```\n{json.dumps(training.config, indent=1)}\n```")
        for (step, row), time in zip(training.measures.iterrows(), training.times):
            for name, value in row.items():
                writer.add_scalar(f"training/{name}", value, step, walltime=time)


def write_wandb(folder: Path, training: Training) -> None:
    """A run of Weights & Biases; `WANDB_MODE=offline` keeps it in `folder`, for `wandb sync`.

    The project is WANDB_PROJECT, by default the model's name. Nothing is told of the machine.

    Raises:
        InputError: wandb is not installed, or cannot begin a run.
    """
    try:
        import wandb
    except ImportError:
        raise InputError(
            "exports.tracking is wandb, which is not installed: pip install wandb."
        ) from None
    settings = wandb.Settings(
        console="off",
        disable_git=True,
        save_code=False,
        silent=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", training.model),
            name=training.name,
            dir=folder,
            config=dict(training.config),
            settings=settings,
        )
    except wandb.Error as error:
        raise InputError(
            f"Weights & Biases cannot begin a run ({error}). Set WANDB_API_KEY, or"
            " WANDB_MODE=offline to keep runs on this machine."
        ) from error
    with run:
        for step, row in training.measures.iterrows():
            run.log(row.to_dict(), step=int(str(step)))


#: Tracker → what writes a training for it.
TRACKERS: Mapping[str, Callable[[Path, Training], None]] = {
    "tensorboard": write_tensorboard,
    "wandb": write_wandb,
}
