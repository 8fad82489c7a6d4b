"""Digests of code, so that editing a library function re-runs exactly the rules that use it.

Snakemake notices changes of a script by its time stamp, and changes of the modules that it
imports not at all. Each rule therefore carries, among its params, a digest over its script and
everything of this project that the script imports, directly or not. Digests are over syntax trees
without docstrings: comments, formatting and documentation re-run nothing.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path


def script_digest(script: str | Path, root: str | Path, *modules: str) -> str:
    """Digest of `script`, of `modules` that it imports by name, and of all they import from `root`.

    Raises:
        SyntaxError: one of the files cannot be parsed; the message names it.
    """
    root = Path(root)
    found: set[Path] = set()
    pending = [root / script, *(root / f"{name.replace('.', '/')}.py" for name in modules)]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imported(path, root)
    text = "".join(f"{path.relative_to(root)}\n{_parsed(path)[0]}\n" for path in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _parsed(path: Path) -> tuple[str, tuple[tuple[int, str, tuple[str, ...]], ...]]:
    """The normalised code of a file, and its imports as (level, module, names)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            imports.append((node.level, node.module or "", names))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return ast.unparse(tree), tuple(imports)


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body[0] = ast.copy_location(ast.Expr(ast.Constant(None)), node.body[0])


@cache
def _imported(path: Path, root: Path) -> tuple[Path, ...]:
    """Files below `root` that importing the modules named in `path` would run."""
    found = []
    package = path.relative_to(root).parent.parts
    for level, module, names in _parsed(path)[1]:
        base = list(package[: len(package) - level + 1]) if level else []
        base += module.split(".") if module else []
        for target in [base, *([*base, name] for name in names)]:
            for depth in range(1, len(target) + 1):
                place = root.joinpath(*target[:depth])
                candidates = (place.with_suffix(".py"), place / "__init__.py")
                found += [candidate for candidate in candidates if candidate.is_file()]
    return tuple(dict.fromkeys(found))
