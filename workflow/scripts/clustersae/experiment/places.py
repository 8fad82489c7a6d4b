"""Where in its files a key of the configuration stands: messages name keys, this adds the line.

Snakemake hands over plain values, without the lines they came from. So the files are parsed once
more, for their lines alone, when there is something to say.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from clustersae.runtime.errors import InputError

#: What every message about the configuration begins with.
PREFIX = "config: "
#: How messages name a key: that of an unknown one, that of a wrong name, and others.
_UNKNOWN = re.compile(r"unknown key '(?P<key>.+?)' in (?P<section>.+?);")
_NAME = re.compile(r'(?P<section>\S+) has the name "(?P<key>.*?)"')
_PLAIN = re.compile(r"(?P<section>[\w.-]+)(?:: (?P<key>[\w.-]+))?")


def placed(
    message: str, files: Iterable[str | Path], command_line: Mapping[str, Any] | None = None
) -> str:
    """A message about the configuration, with `FILE, line N` in front of the key it names.

    A key that was left out stands where its section does. What neither has keeps its message.

    Args:
        files: of the configuration; Snakemake lets the last one win.
        command_line: what --config says, which wins over files.
    """
    if not message.startswith(PREFIX):
        return message
    body = message.removeprefix(PREFIX)
    read = [(file, key_lines(file)) for file in reversed([*files])]
    spoken = {*_dotted(command_line or {})}
    for key in _keys(body):
        if key in spoken:
            return f"--config: {body}"
        for file, lines in read:
            if key in lines:
                return f"{file}, line {lines[key]}: {body}"
    return message


def _keys(body: str) -> Iterator[str]:
    """Dotted keys that a message may be about, the likeliest first, then the sections around."""
    match = _UNKNOWN.match(body) or _NAME.match(body) or _PLAIN.match(body)
    if match is None:
        return
    section, key = match["section"].strip("."), (match["key"] or "").strip(".")
    section = "" if section == "the top level" else section
    inner = f"{section}.{key}" if section and key else section or key
    # `models.NAME: sae.k` may stand in the model's section or in the one of all models.
    found = [inner, key] if _PLAIN.match(body) and key else [inner]
    yield from found
    for each in (*found[1:], inner):
        while "." in each:
            each = each.rpartition(".")[0]
            yield each


def _dotted(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Dotted keys of sections and lists, the latter by number."""
    if path:
        yield ".".join(path)
    inner = value.items() if isinstance(value, Mapping) else ()
    for key, each in enumerate(value) if isinstance(value, list) else inner:
        yield from _dotted(each, (*path, str(key)))


def key_lines(file: str | Path) -> dict[str, int]:
    """Dotted key → line, from 1 on, of every key of a YAML file; entries of lists by number.

    Raises:
        InputError: a section has a key twice, of which YAML would take the second.
    """
    root = yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    lines: dict[str, int] = {}
    for path, line in _walk(root, (), f"{file}"):
        lines.setdefault(".".join(path), line)
    return lines


def check_duplicates(files: Iterable[str | Path]) -> None:
    """Refuse a key that is given twice.

    Raises:
        InputError: as `key_lines`.
    """
    for file in files:
        key_lines(file)


def _walk(
    node: yaml.Node | None, path: tuple[str, ...], file: str, inside: frozenset[int] = frozenset()
) -> Iterator[tuple[tuple[str, ...], int]]:
    if id(node) in inside:  # an alias of what it stands in
        return
    inside |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, each in enumerate(node.value):
            yield (*path, str(index)), each.start_mark.line + 1
            yield from _walk(each, (*path, str(index)), file, inside)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    merged: list[yaml.Node] = []
    for key, value in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if key.tag == "tag:yaml.org,2002:merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            continue
        if name in first:
            where = ".".join((*path, name))
            raise InputError(
                f"{file}, line {line}: {where} is given a second time, after line {first[name]}:"
                " take out one of them."
            )
        first[name] = line
        yield (*path, name), line
        yield from _walk(value, (*path, name), file, inside)
    for each in merged:  # what the section has itself comes first
        yield from _walk(each, path, file, inside)
