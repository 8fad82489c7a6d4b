"""The configuration: defaults filled in, overrides merged, mistakes named before any job starts.

Imported by the Snakefile, so it loads nothing heavy: jsonschema and yaml come with Snakemake.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from clustersae.errors import InputError
from clustersae.sae.variants import variant_scales

SECTIONS = ("activations", "clustering", "sae", "evaluation")

#: Where config.json of the usual model families keeps these figures.
N_LAYERS_KEYS = ("num_hidden_layers", "n_layer", "num_layers")
D_MODEL_KEYS = ("hidden_size", "n_embd", "d_model")


def load(config: Mapping[str, Any], schema_file: str | Path) -> dict[str, dict[str, Any]]:
    """The complete settings of every model: its own section plus activations, clustering, sae
    and evaluation, overrides merged and defaults filled in.

    Raises:
        InputError: names the key, what was given and what is allowed.
    """
    schema = yaml.safe_load(Path(schema_file).read_text(encoding="utf-8"))
    _check_schema(config, schema)
    models = {}
    for name, section in config["models"].items():
        complete = _filled(section, schema["$defs"]["model"], schema)
        for key in SECTIONS:
            merged = _merged(config.get(key) or {}, section.get(key) or {})
            complete[key] = _filled(merged, schema["$defs"][key], schema)
        _check_model(name, complete)
        models[name] = complete
    return models


def _check_schema(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is not None:
        raise InputError(f"config: {_sentence(error)}")


def _sentence(error: jsonschema.ValidationError) -> str:
    """One line that names the key, what was given and what is allowed."""
    while error.context and error.validator == "anyOf":
        error = max(error.context, key=lambda each: len(each.absolute_path))
    key = ".".join(str(part) for part in error.absolute_path) or "the top level"
    given = json.dumps(error.instance, default=str)
    given = given if len(given) <= 80 else f"{given[:77]}..."
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(allowed))
        return f"unknown key {unknown[0]!r} in {key}; allowed are {', '.join(allowed)}."
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{key} lacks {missing[0]!r}."
    allowed = {
        "type": lambda: f"must be {_or(error.validator_value)}",
        "enum": lambda: f"must be {_or(error.validator_value)}",
        "const": lambda: f"must be {error.validator_value}",
        "minimum": lambda: f"must be at least {error.validator_value}",
        "exclusiveMinimum": lambda: f"must be above {error.validator_value}",
        "maximum": lambda: f"must be at most {error.validator_value}",
        "exclusiveMaximum": lambda: f"must be below {error.validator_value}",
        "minItems": lambda: f"must have at least {error.validator_value} entries",
        "maxItems": lambda: f"must have at most {error.validator_value} entries",
        "minProperties": lambda: "must name at least one",
        "uniqueItems": lambda: "must not repeat an entry",
        "pattern": lambda: f"must match {error.validator_value}",
    }.get(error.validator, lambda: error.message)()
    about = error.schema.get("description") if isinstance(error.schema, dict) else None
    return f"{key} is {given}, but {allowed}." + (f" ({about})" if about else "")


def _or(values: str | list[Any]) -> str:
    return values if isinstance(values, str) else " or ".join(str(value) for value in values)


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `override`, section by section."""
    result = copy.deepcopy(dict(base))
    for key, value in override.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else copy.deepcopy(value)
    return result


def _filled(
    value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any]
) -> dict[str, Any]:
    """`value` with the defaults of `schema`, in the schema's order."""
    result = {}
    for key, entry in schema["properties"].items():
        if "$ref" in entry:
            entry = root["$defs"][entry["$ref"].rsplit("/", 1)[1]]
        if "properties" in entry:
            result[key] = _filled(value.get(key) or {}, entry, root)
        elif key in value:
            result[key] = copy.deepcopy(value[key])
        elif "default" in entry:
            result[key] = copy.deepcopy(entry["default"])
    return result


def report_settings(config: Mapping[str, Any], schema_file: str | Path) -> dict[str, Any]:
    """The section `report`, defaults filled in."""
    schema = yaml.safe_load(Path(schema_file).read_text(encoding="utf-8"))
    return _filled(config.get("report") or {}, schema["$defs"]["report"], schema)


def _check_model(name: str, settings: Mapping[str, Any]) -> None:
    """Contradictions that no schema can see, each with the keys involved."""
    where = f"config: models.{name}"
    _check_source(where, settings)
    _check_corpus(f"{where}.corpus", settings)
    _check_sizes(where, settings)


def _check_source(where: str, settings: Mapping[str, Any]) -> None:
    if settings["source"] == "local":
        if not settings["path"]:
            raise InputError(f"{where}.path is missing: source local needs a model directory.")
        folder = Path(settings["path"])
        if not folder.is_dir():
            raise InputError(f"{where}.path: {folder} is not a directory.")
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{where}.path: {folder} has no config.json, so it is not a Hugging Face model"
                " directory. Save the model there with save_pretrained, or correct the path."
            )
    if settings["source"] == "hub" and not settings["repo"]:
        raise InputError(f"{where}.repo is missing: source hub needs a repository.")
    architecture = settings["architecture"]
    if settings["source"] == "train" and architecture["d_model"] % architecture["n_heads"]:
        raise InputError(
            f"{where}.architecture: n_heads = {architecture['n_heads']} does not divide d_model ="
            f" {architecture['d_model']}."
        )


def _check_corpus(where: str, settings: Mapping[str, Any]) -> None:
    corpus, source = settings["corpus"], settings["corpus"]["source"]
    if source in ("text", "jsonl"):
        if not corpus["files"]:
            raise InputError(f"{where}.files is empty: a {source} corpus needs at least one file.")
        for file in corpus["files"]:
            if not Path(file).is_file():
                raise InputError(f"{where}.files: {file} does not exist or is not a file.")
            if Path(file).stat().st_size == 0:
                raise InputError(f"{where}.files: {file} is empty.")
    if source == "dataset" and not corpus["dataset"]:
        raise InputError(f"{where}.dataset is missing: source dataset needs a name or a path.")
    trained = settings["source"] == "train"
    if source == "toy-english" and not trained:
        raise InputError(f"{where}: toy-english has its own words; use it with source: train.")
    if corpus["tokenizer"] == "character" and not trained:
        raise InputError(f"{where}.tokenizer: an imported model brings its own; write model.")
    if trained and source != "toy-english" and corpus["tokenizer"] == "model":
        raise InputError(
            f"{where}.tokenizer: a model trained here has no tokenizer yet; write character."
        )


def _check_sizes(where: str, settings: Mapping[str, Any]) -> None:
    sae, clustering = settings["sae"], settings["clustering"]
    tokens = settings["activations"]["tokens"]["train"]
    if tokens < sae["batch_size"]:
        raise InputError(
            f"{where}: activations.tokens.train = {tokens} is fewer than one batch of"
            f" sae.batch_size = {sae['batch_size']}."
        )
    n_layers, d_model = model_shape(settings)
    if d_model is not None or sae["d_sae"]:
        d_sae = sae["d_sae"] or round(sae["expansion"] * d_model)
        if sae["k"] > d_sae:
            raise InputError(f"{where}: sae.k = {sae['k']} is more than d_sae = {d_sae}.")
    if n_layers is None:
        return
    counts = {
        "clustering.counts": [] if clustering["counts"] == "auto" else clustering["counts"],
        "clustering.control_counts": clustering["control_counts"] or [],
        "evaluation.equal_compute": settings["evaluation"]["equal_compute"],
        "evaluation.equal_exposure": settings["evaluation"]["equal_exposure"],
    }
    for key, values in counts.items():
        if values and max(values) > n_layers:
            raise InputError(
                f"{where}: {key} asks for {max(values)} clusters, but the model has {n_layers}"
                " layers."
            )
    for count in settings["evaluation"]["equal_compute"]:
        _, width = variant_scales(f"narrower-{count}of{n_layers}", 1)
        if d_model is not None and sae["k"] > round(width * d_sae):
            raise InputError(
                f"{where}: sae.k = {sae['k']} is more than the {round(width * d_sae)} latents of"
                f" the narrower SAEs of evaluation.equal_compute = {count}."
            )


def model_shape(settings: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """n_layers and d_model where they can be known before any job: not for a hub model."""
    if settings["source"] == "train":
        architecture = settings["architecture"]
        return architecture["n_layers"], architecture["d_model"]
    if settings["source"] != "local":
        return None, None
    try:
        facts = json.loads((Path(settings["path"]) / "config.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{settings['path']}/config.json is not valid JSON ({error}).") from None
    facts = facts.get("text_config") or facts

    def first(keys: tuple[str, ...]) -> int | None:
        return next((facts[key] for key in keys if isinstance(facts.get(key), int)), None)

    return first(N_LAYERS_KEYS), first(D_MODEL_KEYS)
