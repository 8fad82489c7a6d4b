"""What a training computes its losses with: the network as it is, or with its blocks compiled."""

import logging
import os
import shutil
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

import torch

from clustersae.pretraining.loss import Losses, full_row_losses, next_token_losses
from clustersae.pretraining.network import after_causal_block
from clustersae.pretraining.settings import TrainingSettings
from clustersae.runtime import graphs
from clustersae.runtime.errors import InputError

logger = logging.getLogger(__name__)


def compiles(settings: TrainingSettings, pad_id: int | None, device: torch.device) -> bool:
    """Whether steps are compiled and recorded: that is asked for, and it can be had.

    The log says why not, if it is asked for.

    Raises:
        InputError: what the compiler needs is missing.
    """
    if not settings.compile:
        return False
    if pad_id is not None:
        logger.info("training.compile is for rows without padding; this training does without.")
        return False
    if not graphs.can_record(device):
        logger.info("training.compile is for GPUs; this training runs on the CPU without.")
        return False
    check_compiler()
    return True


def choose_losses(pad_id: int | None, compiled: bool) -> Losses:
    """Losses of every next token; only rows without padding can have them compiled."""
    if pad_id is not None:
        return partial(next_token_losses, pad_id=pad_id)
    return with_compiled_blocks() if compiled else full_row_losses


def with_compiled_blocks(**options: Any) -> Losses:
    """`full_row_losses` with blocks that `torch.compile` compiles, with its `options`.

    A block is compiled once and serves all layers: in 22 s, where a whole network of six takes 39 s
    (compiled for a CPU, d_model 12). What it takes the host to call six blocks in the place of one
    network is saved by recording steps as graphs.
    """
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
