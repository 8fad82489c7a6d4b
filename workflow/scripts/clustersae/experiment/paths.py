"""Paths of the configuration: where a file that somebody names is looked for."""

import os
from collections.abc import Iterable
from pathlib import Path

#: What a message says where a path leads nowhere.
RULE = (
    "Relative paths are looked for in the folder that Snakemake runs in, then in that of the"
    " configuration file."
)


def located(path: str, folders: Iterable[str | Path] = ()) -> str:
    """A path as jobs can open it: ~ replaced, and found where the configuration lies if not here.

    What is nowhere comes back as it is, for a message that names it.

    Args:
        path: as the configuration has it.
        folders: of the configuration files.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded) and not os.path.exists(expanded):
        for folder in folders:
            there = os.path.join(folder, expanded)
            if os.path.exists(there):
                return there
    return expanded


def watched(paths: Iterable[str]) -> list[str]:
    """Those of a job's files that can be inputs of its rule.

    Snakemake takes braces in an input for a wildcard, and there is no way to quote them. Jobs
    read such files all the same: their settings name them, and `contents_digest` tells changes.
    """
    return [path for path in paths if "{" not in path]
