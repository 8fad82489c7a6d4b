"""A configuration as the Snakefiles read it: the language models that it trains, and the rest."""

from collections.abc import Mapping
from typing import Any

from snakemake_project import REPOSITORY

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
