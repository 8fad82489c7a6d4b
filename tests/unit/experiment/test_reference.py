from pathlib import Path

import jsonschema
import pytest

from clustersae.experiment import schema as schemas
from clustersae.experiment.reference import SCHEMAS, WORKFLOW, everything, reference

COMMITTED = Path(__file__).parents[3] / "docs" / "config.md"


def test_the_committed_reference_is_that_of_the_schemas():
    assert COMMITTED.read_text(encoding="utf-8") == everything(), (
        "The schema has changed: python -m clustersae.experiment.reference > docs/config.md"
    )


@pytest.mark.parametrize(
    "file",
    [file for pattern in SCHEMAS for file in WORKFLOW.glob(pattern)],
    ids=lambda file: file.name,
)
def test_no_sentence_of_a_schema_is_cut_at_a_comma(file):
    """In YAML's {…}, what follows a comma in a text without quotes is a key without a value."""

    def without_value(entry):
        if isinstance(entry, list):
            return [found for each in entry for found in without_value(each)]
        if not isinstance(entry, dict):
            return []
        own = [key for key, value in entry.items() if value is None and key != "default"]
        return own + [found for value in entry.values() for found in without_value(value)]

    schema = schemas.read(file)
    assert without_value(schema) == []
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_kind_of_entry_is_put_in_words():
    schema = {
        "properties": {
            "sae": {
                "type": "object",
                "description": "Of SAEs.",
                "properties": {
                    "k": {"type": "integer", "minimum": 1, "default": 16, "description": "Few."},
                    "rate": {
                        "type": ["number", "array", "null"],
                        "items": {"type": "number"},
                        "exclusiveMinimum": 0,
                        "default": None,
                    },
                    "kind": {"enum": ["topk", "relu"], "default": "topk", "description": "a | b"},
                    "inner": {
                        "type": "object",
                        "properties": {"seeds": {"type": "array", "items": {"type": "integer"}}},
                    },
                },
            }
        }
    }
    lines = reference(schema).splitlines()
    assert lines[:3] == ["## `sae`", "", "Of SAEs."]
    assert lines[-5:] == [
        "| `k` | integer, at least 1 | `16` | Few. |",
        "| `rate` | number or list of numbers or null, above 0 | `null` |  |",
        "| `kind` | `topk`, `relu` | `topk` | a \\| b |",
        "| `inner` | section |  |  |",
        "| `inner.seeds` | list of integers |  |  |",
    ]


def test_sections_for_every_name_and_shared_parts_are_followed():
    schema = {
        "properties": {"models": {"additionalProperties": {"$ref": "#/$defs/model"}}},
        "$defs": {
            "model": {
                "required": ["path"],
                "properties": {"path": {"type": "string"}, "corpus": {"$ref": "#/$defs/corpus"}},
            },
            "corpus": {"properties": {"files": {"type": "array", "items": {"type": "string"}}}},
        },
    }
    text = reference(schema)
    assert "| `path` | text | required |  |" in text
    assert "### `models.NAME.corpus`" in text
    assert "| `files` | list of texts |  |  |" in text
