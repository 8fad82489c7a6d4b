"""What jobs inherit from the process that starts them."""

import os
from pathlib import Path


def prepare(scripts: str | Path) -> None:
    """Set what every job of a workflow needs in its environment.

    Args:
        scripts: the folder of the scripts and of this library; it comes before an installed copy,
            so that what runs is what the digests are taken of.
    """
    # Threads of one job that wait for each other by spinning starve the others on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    paths = [str(scripts), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
