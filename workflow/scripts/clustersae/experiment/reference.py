"""The reference of the configuration, docs/config.md, written from the schemas.

python -m clustersae.experiment.reference > docs/config.md
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clustersae.experiment import schema as schemas
from clustersae.experiment.schema import Schema
from clustersae.runtime.errors import InputError

#: Folder `workflow` of the repository that this file lies in.
WORKFLOW = Path(__file__).resolve().parents[3]
#: Of the core, and of every module that brings a section of its own.
SCHEMAS = ("schemas/config.schema.yaml", "modules/*/schema.yaml")

_INTRODUCTION = """\
# Configuration

<!-- Written by python -m clustersae.experiment.reference; what to change are the schemas. -->

One YAML file is one experiment. A key that is left out has the default below, and a section that is
left out all of its defaults. A mistake is refused before any job starts, by its file, line and key.
`clustersae init --model PATH_OR_REPO --text FILE_OR_DATASET` writes a first configuration, scaled
to the model, and says what it will cost. `make plan` prints what a configuration would train
and what that costs.
"""
#: What the limits of JSON Schema are called.
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
_NOUNS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true, false"}
_PLURALS = {"integer": "integers", "number": "numbers", "string": "texts", "object": "sections"}


def reference(schema: Schema) -> str:
    """Markdown: a table of key, allowed values, default and description for every section.

    One without keys is left to the schema of the module that brings it.
    """
    parts = []
    for key, entry in schema["properties"].items():
        entry = schemas.resolved(entry, schema)
        if not {"properties", "additionalProperties"} & entry.keys():
            continue
        parts += [f"## `{key}`", entry.get("description", ""), *_body(key, entry, schema)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _body(path: str, entry: Schema, schema: Schema) -> Iterator[str]:
    """The table of a section, then those of its larger parts, each under a heading."""
    if isinstance(entry.get("additionalProperties"), Mapping):  # one section for each name
        entry = schemas.resolved(entry["additionalProperties"], schema)
        path = f"{path}.NAME"
    yield _table(_rows("", entry, schema))
    for key, each in entry.get("properties", {}).items():
        if "$ref" in each and key not in schema["properties"]:
            part = schemas.resolved(each, schema)
            yield f"### `{path}.{key}`"
            yield part.get("description", "")
            yield _table(_rows("", part, schema))


def _rows(prefix: str, entry: Schema, schema: Schema) -> Iterator[tuple[str, str, str, str]]:
    """Key, what it may be, default and description; keys of inner sections with dots."""
    for key, each in entry.get("properties", {}).items():
        path, about = f"{prefix}{key}", schemas.resolved(each, schema).get("description", "")
        needed = "required" if key in entry.get("required", ()) else ""
        if "$ref" in each:
            own = key not in schema["properties"]
            yield (
                f"`{path}`",
                "section, below" if own else "section, for this model alone",
                needed,
                about,
            )
        elif "properties" in each:
            yield f"`{path}`", "section", "", about
            yield from _rows(f"{path}.", each, schema)
        else:
            default = f"`{_value(each['default'])}`" if "default" in each else ""
            yield f"`{path}`", _allowed(each), needed or default, about
            if "properties" in each.get("items", {}):
                yield from _rows(f"{path}[].", each["items"], schema)


def _allowed(entry: Schema) -> str:
    """`integer, at least 1`; `list of numbers, or null`."""
    if "const" in entry:
        return f"`{_value(entry['const'])}`"
    if "anyOf" in entry:
        return " or ".join(_allowed(each) for each in entry["anyOf"])
    if "enum" in entry:
        return ", ".join(f"`{_value(each)}`" for each in entry["enum"])
    given = entry.get("type", "string")
    types: list[str] = given if isinstance(given, list) else [given]
    limits = [text.format(entry[key]) for key, text in _LIMITS.items() if key in entry]
    names = [_list(entry) if each == "array" else _NOUNS.get(each, each) for each in types]
    return ", ".join([" or ".join(names), *limits])


def _list(entry: Schema) -> str:
    items = entry.get("items", {})
    if "enum" in items or "anyOf" in items:
        return f"list of {_allowed(items)}"
    return f"list of {_PLURALS[items['type']]}"


def _value(value: Any) -> str:
    """As YAML's flow style has it, which for these is JSON without quotes around keys and words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def everything() -> str:
    """docs/config.md: the core's schema, then those of modules.

    Raises:
        InputError: the library is not used from a checkout, so that there are no schemas.
    """
    files = [file for pattern in SCHEMAS for file in sorted(WORKFLOW.glob(pattern))]
    if not files:
        raise InputError(f"{WORKFLOW / SCHEMAS[0]} does not exist: run this in a checkout.")
    return "\n".join([_INTRODUCTION, *(reference(schemas.read(file)) for file in files)])


if __name__ == "__main__":
    sys.stdout.write(everything())
