"""What jobs of this machine can use."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple


class Machine(NamedTuple):
    """Processor cores, bytes of memory and of free disk, and a GPU's name, if there is one."""

    cores: int
    memory: int
    disk: int
    gpu: str | None = None


def look(folder: Path, gpu: str | None = None) -> Machine:
    """This machine; the disk is that of `folder`, or of the nearest folder above that exists."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return Machine(cores or 1, memory, shutil.disk_usage(place).free, gpu)
