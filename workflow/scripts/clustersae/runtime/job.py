"""What every job does first: its log, what killed ones have left, whether its inputs are whole."""

import gc
import logging
import os
import signal
import threading
import time
from typing import Any

from clustersae.runtime import log, written
from clustersae.runtime.environment import SNAKEMAKE_PROCESS, namespace
from clustersae.runtime.files import remove_unfinished

logger = logging.getLogger(__name__)

#: Seconds between two looks at Snakemake.
LOOK_EVERY = 1.0


def start(snakemake: Any) -> None:
    """Prepare this process for the job that the object `snakemake` of a script describes.

    Raises:
        InputError: an input is damaged; see `written.check`.
    """
    gc.freeze()  # what a script imports stays: a model's modules load in a sixth less time
    log.to(snakemake.log[0])
    number, _, among = os.environ.get(SNAKEMAKE_PROCESS, "").partition(" ")
    if number and among == namespace():
        end_with(int(number))
    for path in snakemake.output:
        remove_unfinished(path)
    written.check(snakemake.input)


def end_with(process: int) -> None:
    """End this process by SIGTERM soon after the given one, or now if that has ended.

    A job that outlives a killed Snakemake would write its files while the next Snakemake makes
    them, too; training saves what it has done when it is asked to stop.
    """
    threading.Thread(target=_watch, args=(process,), daemon=True).start()


def lives(process: int) -> bool:
    """Whether a process of this machine has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _watch(process: int) -> None:
    while lives(process):
        time.sleep(LOOK_EVERY)
    logger.warning("Snakemake, process %d, has ended: so does this job.", process)
    while True:  # a training that is done with its last step has not heard the first
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LOOK_EVERY)
