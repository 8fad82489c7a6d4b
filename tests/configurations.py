"""A configuration as the Snakefiles read it: the language models that it trains, and the rest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake_project import REPOSITORY, merged

from clustersae.experiment import config
from clustersae.pretraining import config as pretraining

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
LANGUAGE_MODELS = REPOSITORY / "workflow" / "modules" / "language_models" / "schema.yaml"


def language_models(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return pretraining.load(given.get("language_models") or {}, LANGUAGE_MODELS)


def load(given: Any) -> dict[str, dict[str, Any]]:
    """The complete settings of every model under study."""
    section = given if isinstance(given, Mapping) else {}
    return config.load(given, SCHEMA, pretraining.known(language_models(section)))


def bare_model(folder: Path, config: str | Mapping[str, Any]) -> Path:
    """A model directory of which nothing but config.json says anything."""
    folder.mkdir(parents=True, exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return folder


# Parts to be merged into the tiny experiment.


def tiny(**changes):
    return {"models": {"tiny": changes}}


def imported(path, corpus=None, **changes):
    """The model in the directory `path`, which reads text.txt."""
    text = {"source": "text", "files": ["text.txt"]}
    return tiny(trained=None, path=path, corpus=text | (corpus or {}), **changes)


def specialising(*entries):
    return {"arms": {"specialised": list(entries)}}


def shared(*counts, **sections):
    return {"arms": {"shared": {"counts": list(counts)}}, **sections}


def streaming(window=1, **sections):
    """Eight shards of 250 tokens that do not stay."""
    activations = {"shard_tokens": 250, "window": window, "keep": False}
    return merged({"activations": activations, "sae": {"batch_size": 64}}, sections)
