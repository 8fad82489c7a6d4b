"""Paths of the configuration: where a file that somebody names is looked for."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
    read such files all the same: their settings name them, and `stamps` watches over changes.
    """
    return [path for path in paths if "{" not in path]


def stamps(value: Any) -> list[tuple[str, int, int]]:
    """Path, size and time of change of every file in settings that cannot be an input.

    Args:
        value: a path, or settings that hold paths, however deep; of a folder, its files.
    """
    if isinstance(value, Mapping):
        return [stamp for each in value.values() for stamp in stamps(each)]
    if isinstance(value, list):
        return [stamp for each in value for stamp in stamps(each)]
    if not isinstance(value, str) or "{" not in value or not os.path.exists(value):
        return []
    folder = Path(value)
    files = sorted(each for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
    facts = [(str(file), file.stat()) for file in files or [folder]]
    return [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]
