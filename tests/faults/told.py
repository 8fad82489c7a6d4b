"""What Snakemake and its jobs print, and what a user does who reads it beside docs/reruns.md."""

import re
from pathlib import Path

UNLOCK, INCOMPLETE = ("--unlock",), ("--rerun-incomplete",)
#: "error: results/x is damaged: ... Delete it and run again."
_REMEDY = re.compile(r"(results/\S+?):? [^\n]*?Delete (it|the folder) and run\s+again")


def to_delete(text: str, folder: Path) -> str | None:
    """The file or folder that is to be deleted, relative to `folder`; None if there is none."""
    found = _REMEDY.search(text)
    if not found or not (folder / found[1]).exists():
        return None
    name = Path(found[1])
    is_file = (folder / name).is_file()
    return str(name.parent if found[2] == "the folder" and is_file else name)


def command(text: str) -> tuple[str, ...] | None:
    """Arguments of the next Snakemake; None where a failure is not explained."""
    if "cannot be locked" in text:
        return UNLOCK
    if "--rerun-incomplete" in text:
        return INCOMPLETE
    if "older modification time" in text:  # a clock has jumped while jobs ran
        return ()
    return None


def anew(folder: Path) -> str:
    """What a log says of a checkpoint that could not be gone on from."""
    for log in folder.glob("results/logs/**/train_*/**/*.log"):
        found = re.search(r"Training starts anew: .*", log.read_text(encoding="utf-8"))
        if found:
            return found[0]
    return ""


def sentence(text: str, folder: Path) -> str:
    """What a user reads first: our own error, else which job has failed, else Snakemake's words."""
    patterns = (
        r"^error: (.+)",
        r"^InputError.*\n(.+)",
        r"^(Output .* has older modification time .*?)\. ",
        r"^(Error in rule \w+)",
        r"^(Error: .+)",
        r"^(\w+(?:Error|Exception).*)",
    )
    found = (re.search(pattern, text, re.MULTILINE) for pattern in patterns)
    return next((each[1] for each in found if each), "").replace(str(folder), ".")
