"""What the schema of the configuration says: types, allowed values and defaults, in plain words."""

import copy
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from clustersae.runtime.errors import InputError

Schema = Mapping[str, Any]

#: What the types of JSON Schema are called in a message.
TYPES = {
    "object": "a section",
    "array": "a list",
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@cache
def read(file: str | Path) -> Schema:
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def checked(config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The configuration without empty sections, if the schema allows it.

    A section of which every line is commented out reads as null; it stands for the defaults.

    Raises:
        InputError: names the key, what was given and what is allowed.
    """
    _check_plain("", config)
    filtered: dict[str, Any] = _without_empty_sections(config, schema, schema)
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(filtered)
    )
    if error is not None:
        raise InputError(f"config: {_sentence(error)}")
    return filtered


def filled(value: Mapping[str, Any], entry: Schema, schema: Schema) -> dict[str, Any]:
    """`value` with the defaults of `entry`, in the schema's order; whole numbers as int."""
    result = {}
    for key, each in entry["properties"].items():
        each = resolved(each, schema)
        if "properties" in each:
            result[key] = filled(value.get(key, {}), each, schema)
        elif key in value:
            result[key] = _with_integers(value[key], each)
        elif "default" in each:
            result[key] = copy.deepcopy(each["default"])
    return result


def typed(value: Any, entry: Schema, schema: Schema) -> Any:
    """`value` with numbers, true, false and null where it has them as text and text is not meant.

    Snakemake reads sections on the command line without them: `--config 'sae={k: 4}'` is "4".
    """
    entry = resolved(entry, schema)
    if isinstance(value, Mapping):
        others = entry.get("additionalProperties") or {}
        inner = entry.get("properties", {})
        return {key: typed(each, inner.get(key, others), schema) for key, each in value.items()}
    if isinstance(value, list):
        return [typed(each, entry.get("items", {}), schema) for each in value]
    return _plain(value, entry) if isinstance(value, str) else value


def _plain(text: str, entry: Schema) -> Any:
    """What YAML takes a text for, or a number with an exponent, if that is allowed."""
    types, values = entry.get("type", []), entry.get("enum", [])
    try:
        value = yaml.safe_load(text)
        value = float(text) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return text
    if value is None:  # also of text that begins with # or is a separator of YAML's documents
        is_null = text in ("~", "null", "Null", "NULL")
        return None if is_null and ("null" in types or None in values) else text
    kinds = {bool: ("boolean",), int: ("integer", "number"), float: ("integer", "number")}
    fitting = "string" not in types and any(kind in types for kind in kinds.get(type(value), ()))
    return value if fitting else text


def resolved(entry: Schema, schema: Schema) -> Schema:
    if "$ref" in entry:
        return schema["$defs"][entry["$ref"].rsplit("/", 1)[1]]
    return entry


def _without_empty_sections(value: Any, entry: Schema, schema: Schema) -> Any:
    if not isinstance(value, Mapping):
        return value
    result = {}
    for key, each in value.items():
        inner = entry.get("properties", {}).get(key, entry.get("additionalProperties"))
        inner = resolved(inner, schema) if isinstance(inner, Mapping) else {}
        optional = inner.get("type") == "object" and not inner.get("required")
        if not (each is None and optional and "minProperties" not in inner):
            result[key] = _without_empty_sections(each, inner, schema)
    return result


def _with_integers(value: Any, entry: Schema) -> Any:
    """JSON Schema takes 4.0 for an integer; range() and torch do not."""
    if isinstance(value, list):
        items = [entry, *entry.get("anyOf", [])]
        inner: Schema = next((each["items"] for each in items if "items" in each), {})
        return [_with_integers(each, inner) for each in value]
    if isinstance(value, Mapping):
        known, others = entry.get("properties", {}), entry.get("additionalProperties")
        others = others if isinstance(others, Mapping) else {}
        return {key: _with_integers(each, known.get(key, others)) for key, each in value.items()}
    types = entry.get("type", [])
    if isinstance(value, float) and "integer" in types:
        return int(value)
    return copy.deepcopy(value)


def _check_plain(where: str, value: Any) -> None:
    """Refuse what YAML can say and no configuration means: keys that are no text, nan, inf."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                raise InputError(
                    f"config: {where or 'the top level'} has the key {key!r}, which YAML does not"
                    f' read as text: put it in quotes ("{key}").'
                )
            _check_plain(f"{where}.{key}" if where else key, each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _check_plain(f"{where}.{index}", each)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"config: {where} is {value}, but must be a finite number.")


def _sentence(error: jsonschema.ValidationError) -> str:
    """One line that names the key, what was given and what is allowed."""
    error = _closest(error)
    key = ".".join(str(part) for part in error.absolute_path) or "the top level"
    given = json.dumps(error.instance, default=str, ensure_ascii=False)
    given = given if len(given) <= 80 else f"{given[:77]}..."
    if "propertyNames" in error.absolute_schema_path and error.validator == "enum":
        known = ", ".join(error.validator_value)
        return f"unknown key {error.instance!r} in {key}; allowed are {known}."
    if "propertyNames" in error.absolute_schema_path:
        return (
            f"{key} has the name {given}, but a name is up to 100 letters, digits, dots, hyphens"
            " and underscores, the first a letter or digit: it becomes a folder."
        )
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(allowed))
        return f"unknown key {unknown[0]!r} in {key}; allowed are {', '.join(allowed)}."
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{key} lacks {missing[0]!r}."
    about = error.schema.get("description")
    return f"{key} is {given}, but must {_demand(error)}." + (f" ({about})" if about else "")


def _closest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Of alternatives, the one whose type fits; the whole choice if none does."""
    while error.validator == "anyOf":
        fitting = [each for each in error.context if each.validator not in ("type", "const")]
        fitting += [each for each in error.context if len(each.path) > 0]
        if not fitting:
            break
        error = fitting[0]
    return error


def _demand(error: jsonschema.ValidationError) -> str:
    """What a value must do or be."""
    limit = error.validator_value
    match error.validator:
        case "anyOf":
            return "be " + " or ".join(_alternative(each) for each in limit)
        case "type":
            names = limit if isinstance(limit, list) else [limit]
            demand = "be " + " or ".join(TYPES[name] for name in names)
            return demand + _exponent_hint(error.instance, names)
        case "enum":
            return "be " + " or ".join(map(_word, limit))
        case "pattern":  # of activations.layers alone
            return "be all, a list or a section"
        case "minimum":
            return f"be at least {limit}"
        case "exclusiveMinimum":
            return f"be above {limit}"
        case "maximum":
            return f"be at most {limit}"
        case "exclusiveMaximum":
            return f"be below {limit}"
        case "minItems":
            return f"have at least {limit} {'entry' if limit == 1 else 'entries'}"
        case "maxItems":
            return f"have at most {limit} entries"
        case "minProperties":
            return "name at least one"
        case "uniqueItems":
            return "not repeat an entry"
    return f"agree with the schema: {error.message}"


def _alternative(entry: Schema) -> str:
    return _word(entry["const"]) if "const" in entry else TYPES[entry["type"]]


def _word(allowed: Any) -> str:
    """As the configuration has it: null, true, and words without quotes."""
    return allowed if isinstance(allowed, str) else json.dumps(allowed)


def _exponent_hint(given: Any, types: list[str]) -> str:
    """YAML reads 1e-3 as text: a number needs a dot before its exponent."""
    if not isinstance(given, str) or not {"number", "integer"} & set(types):
        return ""
    try:
        number = float(given)
    except ValueError:
        return ""
    plain = int(number) if number.is_integer() else number
    return f"; YAML took it for text, write {plain}"
