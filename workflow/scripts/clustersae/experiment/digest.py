"""Digests of code, so that editing a library function re-runs exactly the rules that use it.

Snakemake notices changes of a script by its time stamp, and changes of the modules that it
imports not at all. Each rule therefore carries, among its params, a digest over its script and
everything of this project that the script imports, directly or not, and the C files that these
compile. Digests are over syntax trees without docstrings: comments, formatting and documentation
re-run nothing.
"""

import hashlib
from functools import cache
from pathlib import Path

from clustersae.experiment.code_files import CodeFiles


def script_digest(script: str | Path, root: str | Path, *modules: str) -> str:
    """Digest of `script`, of `modules` that it imports by name, and of all they import from `root`.

    Raises:
        SyntaxError: one of the files cannot be parsed; the message names it.
    """
    root = Path(root)
    files = files_below(root)
    found: set[Path] = set()
    pending = [root / script, *(root / f"{name.replace('.', '/')}.py" for name in modules)]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += files.imported(path)
    files.keep()
    text = "".join(
        f"{path.relative_to(root)} {files.code(path).digest}\n" for path in sorted(found)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def files_below(root: Path) -> CodeFiles:
    """The files of one folder, as they were when they were first read."""
    return CodeFiles(root)
