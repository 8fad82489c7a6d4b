"""The configuration: defaults filled in, overrides merged, mistakes named before any job starts.

Imported by the Snakefile, so it loads nothing heavy: jsonschema and yaml come with Snakemake.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.corpora.named import check_named
from clustersae.experiment import schema
from clustersae.experiment.feasibility import check_arms
from clustersae.experiment.moved import check_form
from clustersae.experiment.tasks import check_tasks
from clustersae.runtime.errors import InputError

SECTIONS = ("activations", "clustering", "sae", "arms", "evaluation")

#: Beside the models' folders in results/.
RESERVED_NAMES = ("logs", "benchmarks", "reference", "trainings", "README.md", "report.html")

#: What a model that is the `same_as` another takes from it.
SHARED = (
    *("source", "path", "repo", "revision", "trust_remote_code", "corpus", "architecture"),
    *("training", "activations"),
)

#: Where config.json of the usual model families keeps these figures.
N_LAYERS_KEYS = ("num_hidden_layers", "n_layer", "num_layers")
D_MODEL_KEYS = ("hidden_size", "n_embd", "d_model")


def load(config: Mapping[str, Any], schema_file: str | Path) -> dict[str, dict[str, Any]]:
    """The complete settings of every model: its own section plus activations, clustering, sae,
    arms and evaluation, overrides merged and defaults filled in.

    Raises:
        InputError: names the key, what was given and what is allowed.
    """
    check_form(config)
    rules = schema.read(schema_file)
    config = schema.checked(with_shared(config), rules)
    models = {}
    for name, section in config["models"].items():
        complete = schema.filled(section, rules["$defs"]["model"], rules)
        for key in SECTIONS:
            merged = _merged(config.get(key, {}), section.get(key, {}))
            complete[key] = schema.filled(merged, rules["$defs"][key], rules)
        _check_model(name, complete)
        models[name] = complete
    return models


def with_shared(config: Any) -> Any:
    """The configuration, in which models that are the `same_as` another have what it has.

    Raises:
        InputError: there is no such other model, or the two contradict each other.
    """
    models = config.get("models") if isinstance(config, Mapping) else None
    if not isinstance(models, Mapping):
        return config  # which the schema will refuse
    complete = {
        name: _with_shared(name, section, models) if _same_as(section) else section
        for name, section in models.items()
    }
    return {**config, "models": complete}


def _same_as(section: Any) -> Any:
    return section.get("same_as") if isinstance(section, Mapping) else None


def _with_shared(
    name: str, section: Mapping[str, Any], models: Mapping[str, Any]
) -> dict[str, Any]:
    where, other = f"config: models.{name}", section["same_as"]
    first = models.get(other) if isinstance(other, str) else None
    if not isinstance(first, Mapping) or _same_as(first):
        known = [each for each, given in models.items() if each != name and not _same_as(given)]
        raise InputError(
            f"{where}.same_as is {other}, but must be a model of this configuration that is"
            f" made in its own right: {', '.join(known) or 'there is none'}."
        )
    own = [key for key in SHARED if key in section]
    if own:
        raise InputError(
            f"{where} has {own[0]}, which it takes from {other} (same_as): take out one of them."
        )
    shared = {key: first[key] for key in SHARED if key in first}
    training = shared.get("training")
    if isinstance(training, Mapping):  # the other's trainings are tabulated there
        drop = ("record", "other_seeds", "published")
        shared["training"] = {key: each for key, each in training.items() if key not in drop}
    return {**copy.deepcopy(shared), **section}


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `override`, section by section."""
    result = copy.deepcopy(dict(base))
    for key, value in override.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else copy.deepcopy(value)
    return result


def _check_model(name: str, settings: Mapping[str, Any]) -> None:
    """Contradictions that no schema can see, each with the keys involved."""
    if name in RESERVED_NAMES:
        raise InputError(
            f"config: models.{name}: results/{name} has another use; give the model another name."
        )
    where = f"config: models.{name}"
    _check_source(where, settings)
    _check_corpus(f"{where}.corpus", settings)
    if settings["source"] == "train":
        _check_training(f"{where}.training", settings)
    n_layers, d_model = model_shape(settings)
    check_arms(where, settings, n_layers, d_model)
    toy = settings["corpus"]["source"] == "toy-english"
    check_tasks(f"{where}: evaluation.tasks", settings["evaluation"]["tasks"], toy)
    _check_judge(where, settings["evaluation"]["judge"])


def _check_source(where: str, settings: Mapping[str, Any]) -> None:
    if settings["source"] == "local":
        if not settings["path"]:
            raise InputError(f"{where}.path is missing: source local needs a model directory.")
        folder = Path(settings["path"])
        if not folder.is_dir():
            raise InputError(
                f"{where}.path: {folder} is not a directory. Paths are relative to the folder that"
                " Snakemake runs in."
            )
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
                raise InputError(
                    f"{where}.files: {file} does not exist or is no file. Paths are"
                    " relative to the folder that Snakemake runs in."
                )
            if Path(file).stat().st_size == 0:
                raise InputError(f"{where}.files: {file} is empty: remove it from the list.")
    if source == "dataset" and not corpus["dataset"]:
        raise InputError(f"{where}.dataset is missing: source dataset needs a name or a path.")
    if source == "named":
        check_named(where, settings)
        return
    trained = settings["source"] == "train"
    if source == "toy-english" and not trained:
        raise InputError(f"{where}: toy-english has its own words; use it with source: train.")
    if corpus["tokenizer"] == "character" and not trained:
        raise InputError(f"{where}.tokenizer: an imported model brings its own; write model.")
    if trained and source != "toy-english" and corpus["tokenizer"] == "model":
        raise InputError(
            f"{where}.tokenizer: a model trained here has no tokenizer yet; write character."
        )


def _check_training(where: str, settings: Mapping[str, Any]) -> None:
    training, toy = settings["training"], settings["corpus"]["source"] == "toy-english"
    if toy and training["sampling"] == "offsets":
        raise InputError(
            f"{where}.sampling: the rows of toy-english are sentences of their own, so there is no"
            " text to cut sequences from; write rows."
        )
    if toy and training["record"]:
        raise InputError(
            f"{where}.record is for models of characters: toy-english has no blank to write from."
        )
    if training["seed"] in training["other_seeds"]:
        raise InputError(
            f"{where}.other_seeds has {training['seed']}, which is {where}.seed already: remove it."
        )
    for key in ("other_seeds", "published"):
        if training[key] and not training["record"]:
            raise InputError(
                f"{where}.{key} is for the table of seeds, which nobody has asked for: set"
                f" {where}.record to true, or leave {key} out."
            )
    named = settings["corpus"].get("name")
    if training["published"] not in (None, named):
        raise InputError(
            f"{where}.published is {training['published']}, a run on the named corpus"
            f" {training['published']}, and this model reads another text: write published: null,"
            f" or corpus: {{source: named, name: {training['published']}}}."
        )


def _check_judge(where: str, judge: Mapping[str, Any]) -> None:
    if judge["base_url"] and not judge["model"]:
        raise InputError(
            f"{where}: evaluation.judge.model is missing: name the model that"
            f" {judge['base_url']} is to answer with."
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
