"""What a training computes its losses with: the network as it is, or with its blocks compiled."""

import logging
import os
import shutil
import sysconfig
from functools import partial
from pathlib import Path

import torch

from clustersae.errors import InputError
from clustersae.models.loss import Losses, full_row_losses, next_token_losses
from clustersae.models.network import after_causal_block
from clustersae.models.settings import TrainingSettings

logger = logging.getLogger(__name__)


def compiles(settings: TrainingSettings, pad_id: int | None) -> bool:
    """Whether compiling is asked for, and all batches have one shape."""
    return settings.compile and pad_id is None


def choose_losses(settings: TrainingSettings, pad_id: int | None, device: torch.device) -> Losses:
    """Losses of every next token, with compiled blocks where that is asked for and of use.

    A block is compiled once and serves all layers: in 22 s, where a whole network of six takes 39 s
    (on a CPU), nearly as long as a small model trains on a GPU. What it takes the host to call six
    blocks is saved by recording steps as graphs.

    Raises:
        InputError: what the compiler needs is missing.
    """
    if pad_id is not None:
        if settings.compile:
            logger.info("training.compile is for rows without padding; this training does without.")
        return partial(next_token_losses, pad_id=pad_id)
    if not settings.compile:
        return full_row_losses
    if device.type != "cuda":
        logger.info("training.compile is for GPUs; this training runs on the CPU without.")
        return full_row_losses
    check_compiler()
    return with_compiled_blocks()


def with_compiled_blocks(**options: object) -> Losses:
    """`full_row_losses` with blocks that `torch.compile` compiles, with its `options`."""
    return partial(full_row_losses, after=torch.compile(after_causal_block, **options))


def check_compiler() -> None:
    """Raise InputError if Triton could not compile what it launches kernels with."""
    if not any(map(shutil.which, (os.environ.get("CC", ""), "gcc", "clang"))):
        raise InputError(
            "training.compile needs a C compiler, and neither gcc nor clang is on the PATH: install"
            " one, name one in the environment variable CC, or set training.compile to false."
        )
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        raise InputError(
            f"training.compile needs Python's headers, and {header} is not there: install them (on"
            " Debian: apt-get install python3-dev), or set training.compile to false."
        )
