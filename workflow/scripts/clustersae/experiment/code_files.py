"""What a file of code says and imports; parsed once, and known to the next call of Snakemake.

Snakemake reads the Snakefile at every call, on a cluster in every job, and every rule asks for
all code that it reaches. As Python keeps bytecode, what was found is kept in `__pycache__`.
"""

import ast
import hashlib
import json
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_text

#: Names of files that are compiled: those in a module that does so are of files beside it.
_COMPILED = re.compile(r"[\w-]+\.[ch]")
_COMMENT_OR_SPACE = re.compile(r"/\*.*?\*/|//[^\n]*|\s+", re.DOTALL)

#: Files known. Each edit adds one; with more than that it is begun anew.
LARGEST = 5000


class Code(NamedTuple):
    """A file: digest of its code without comments, docstrings and formatting; what it runs.

    Attributes:
        imports: (level, module, names) of each import, level as in `ast.ImportFrom`.
        compiled: names of files beside it that it compiles.
    """

    digest: str
    imports: list[tuple[int, str, list[str]]]
    compiled: list[str]


class CodeFiles:
    """The files of code below the folder `root`, each parsed once in whatever process.

    Nothing is edited while one process reads: what a file held first is what it holds.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        #: Of other versions of Python and of this file nothing is taken over.
        made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
        tag = f"{sys.implementation.cache_tag}-{made_by}"
        self.memory = root / "__pycache__" / f"code-{tag}.cache"
        self._known = _remembered(self.memory)
        self._kept = len(self._known)
        self._of: dict[Path, Code] = {}
        self.imported = cache(self._imported)
        self._file = cache(self._file_of)

    def code(self, path: Path) -> Code:
        """What the file says.

        Raises:
            SyntaxError: it cannot be parsed; the message names it.
        """
        if path not in self._of:
            source = path.read_bytes()
            key = hashlib.sha256(source).hexdigest()
            if key not in self._known:
                self._known[key] = parsed(source, str(path))
            self._of[path] = self._known[key]
        return self._of[path]

    def _imported(self, path: Path) -> tuple[Path, ...]:
        """Files below the root that importing the modules named in `path` would run or compile."""
        beside = map(path.with_name, self.code(path).compiled)
        found = [file for file in beside if file.is_file()]
        package = path.relative_to(self.root).parent.parts
        for level, module, names in self.code(path).imports:
            base = (*package[: len(package) - level + 1],) if level else ()
            base += tuple(module.split(".")) if module else ()
            for target in [base, *((*base, name) for name in names)]:
                for depth in range(1, len(target) + 1):
                    found += self._file(target[:depth])
        return tuple(dict.fromkeys(found))

    def _file_of(self, module: tuple[str, ...]) -> list[Path]:
        place = self.root.joinpath(*module)
        candidates = (place.with_suffix(".py"), place / "__init__.py")
        return [candidate for candidate in candidates if candidate.is_file()]

    def keep(self) -> None:
        """Leave what is known to later processes, where Python may leave bytecode."""
        if len(self._known) == self._kept or sys.dont_write_bytecode:
            return
        known = self._known
        if len(known) > LARGEST:
            known = dict(list(known.items())[self._kept :])
        with suppress(OSError, InputError):  # it cannot be written: the next one parses again
            write_text(self.memory, json.dumps(known))
        self._kept = len(self._known)


def _remembered(memory: Path) -> dict[str, Code]:
    """Of a file that is absent or damaged nothing: it is written anew."""
    try:
        read = dict(json.loads(memory.read_text(encoding="utf-8")))
        return {key: Code(*value) for key, value in read.items()}
    except (OSError, ValueError, TypeError):
        return {}


def parsed(source: bytes, name: str) -> Code:
    """What code of Python or C says; `name` is its file's, also for the message of an error."""
    if _COMPILED.fullmatch(Path(name).name):
        text = _COMMENT_OR_SPACE.sub(" ", source.decode())
        return Code(hashlib.sha256(" ".join(text.split()).encode()).hexdigest(), [], [])
    tree = ast.parse(source, filename=name)
    imports: list[tuple[int, str, list[str]]] = []
    compiled: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            imports.append((node.level, node.module or "", names))
        elif isinstance(node, ast.Constant) and _COMPILED.fullmatch(str(node.value)):
            compiled.add(str(node.value))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return Code(hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), imports, sorted(compiled))


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body[0] = ast.copy_location(ast.Expr(ast.Constant(None)), node.body[0])
