"""What jobs inherit from the process that starts them."""

import os
from pathlib import Path

from clustersae.runtime.errors import InputError

#: The environment variable that tells jobs Snakemake's process: its number, and among which
#: processes it has that.
SNAKEMAKE_PROCESS = "CLUSTERSAE_SNAKEMAKE_PROCESS"


def namespace() -> str:
    """Within what the numbers of processes are counted: a container may have its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not on Linux
        return "all"


def user_cache() -> Path:
    """The folder of what the user has downloaded or compiled, and can have again.

    Raises:
        InputError: there is no home folder, as in a container whose user has none.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if root.startswith("~"):
        raise InputError("There is no home folder to keep a cache in: set XDG_CACHE_HOME to one.")
    return Path(root, "clustersae")


def prepare(scripts: str | Path) -> None:
    """Set what every job of a workflow needs in its environment.

    Args:
        scripts: the folder of the scripts and of this library; it comes before an installed copy,
            so that what runs is what the digests are taken of.
    """
    # Threads of one job that wait for each other by spinning starve the others on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ[SNAKEMAKE_PROCESS] = f"{os.getpid()} {namespace()}"
    paths = [str(scripts), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
