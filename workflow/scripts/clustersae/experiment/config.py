"""The configuration: defaults filled in, overrides merged, mistakes named before any job starts.

Imported by the Snakefile, so it loads nothing heavy: jsonschema and yaml come with Snakemake.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clustersae.experiment import schema
from clustersae.experiment.architectures import check_architecture
from clustersae.experiment.feasibility import check_arms
from clustersae.experiment.judge import check_judge
from clustersae.experiment.moved import check_form
from clustersae.experiment.paths import located
from clustersae.experiment.probes import check_probes
from clustersae.experiment.shape import check_rows, model_shape
from clustersae.experiment.sources import check_complete, gguf_file
from clustersae.experiment.tasks import check_tasks, is_file
from clustersae.experiment.texts import check_keys, check_text, locate_text
from clustersae.runtime.errors import InputError

SECTIONS = ("activations", "clustering", "sae", "arms", "evaluation", "exports", "browser")

#: Beside the models' folders in results/, and in that of logs.
RESERVED_NAMES = ("logs", "benchmarks", "language_models", "README.md", "report.html", "plan.log")

#: What a model that is the `same_as` another takes from it.
SHARED = (
    *("path", "repo", "revision", "trust_remote_code", "dtype", "device_map", "trained"),
    *("corpus", "activations"),
)


class Trained(NamedTuple):
    """What is known, before it is trained, of a model that `trained` names."""

    n_layers: int
    d_model: int
    toy_english: bool  # it reads sentences with known factors
    max_validation_tokens: int | None = None  # where test is a later part of validation


def load(
    config: Mapping[str, Any],
    schema_file: str | Path,
    trained: Mapping[str, Trained] | None = None,
    folders: Sequence[str | Path] = (),
    command_line: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """The complete settings of every model: its own section plus activations, clustering, sae,
    arms and evaluation, overrides merged and defaults filled in.

    `toy_english` is added to them; `corpus` is None where the text is that of a trained model.

    Args:
        trained: the models of the section `language_models`, by name.
        folders: of the configuration files, for relative paths.
        command_line: what `config` has from there, see `schema.typed`.

    Raises:
        InputError: names the key, what was given and what is allowed.
    """
    check_form(config)
    rules = schema.read(schema_file)
    if command_line:
        config = merged(config, schema.typed(command_line, rules, rules))
    config = schema.checked(with_shared(config), rules)
    models = {}
    for name, section in config["models"].items():
        complete = schema.filled(section, rules["$defs"]["model"], rules)
        for key in SECTIONS:
            own = merged(config.get(key, {}), section.get(key, {}))
            complete[key] = schema.filled(own, rules["$defs"][key], rules)
        complete["corpus"] = complete["corpus"] if "corpus" in section else None
        if complete["corpus"]:
            check_keys(f"config: models.{name}.corpus", complete["corpus"], rules)
        _locate(complete, folders)
        _check_model(name, complete, trained or {})
        models[name] = complete
    return models


def _locate(settings: dict[str, Any], folders: Sequence[str | Path]) -> None:
    """Make paths of the configuration such as jobs can open, in place."""
    if settings["path"]:
        settings["path"] = located(settings["path"], folders)
    if settings["corpus"]:
        locate_text(settings["corpus"], folders)
    tasks = settings["evaluation"]["tasks"]
    settings["evaluation"]["tasks"] = [
        located(task, folders) if is_file(task) else task for task in tasks
    ]


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
    return {**{key: copy.deepcopy(first[key]) for key in SHARED if key in first}, **section}


def merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `override`, section by section."""
    result = copy.deepcopy(dict(base))
    for key, value in override.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else copy.deepcopy(value)
    return result


def _check_model(name: str, settings: dict[str, Any], trained: Mapping[str, Trained]) -> None:
    """Contradictions that no schema can see, each with the keys involved."""
    if name in RESERVED_NAMES:
        raise InputError(
            f"config: models.{name}: results/{name} has another use; give the model another name."
        )
    where = f"config: models.{name}"
    _check_origin(where, settings)
    check_architecture(where, settings)
    if settings["trained"]:
        known = _check_trained(where, settings, trained)
        settings["toy_english"] = known.toy_english
        check_arms(where, settings, known.n_layers, known.d_model)
    else:
        check_text(f"{where}.corpus", settings["corpus"])
        settings["toy_english"] = False
        try:
            shape = model_shape(settings)
        except InputError as error:
            raise InputError(f"{where}.path: {error}") from None
        check_rows(where, settings)
        _check_length(where, settings)
        check_arms(where, settings, *shape)
    tasks = settings["evaluation"]["tasks"]
    check_tasks(f"{where}: evaluation.tasks", tasks, settings["toy_english"])
    check_judge(f"{where}: ", settings["evaluation"])
    check_probes(f"{where}: ", settings["evaluation"])


def _check_length(where: str, settings: Mapping[str, Any]) -> None:
    """A text that is read as far as tokens are asked of it; it ends with a whole row."""
    corpus, asked = settings["corpus"], sum(settings["activations"]["tokens"].values())
    most = corpus["max_tokens"]
    if most is not None and asked >= most + corpus["n_ctx"]:
        raise InputError(
            f"{where}: activations.tokens asks for {asked} tokens in all, but corpus.max_tokens"
            f" ends the text after {most}: raise corpus.max_tokens, or ask for fewer."
        )


def _check_origin(where: str, settings: Mapping[str, Any]) -> None:
    """One place that the model comes from, and a text unless that place has one."""
    given = [key for key in ("path", "repo", "trained") if settings[key]]
    if not given:
        raise InputError(
            f"{where} does not say which model it is: give path (a Hugging Face directory), repo"
            " (of the Hub), trained (of language_models) or same_as (another entry of models)."
        )
    if len(given) > 1:
        raise InputError(f"{where} has {given[0]} and {given[1]}: take out one of them.")
    if (settings["corpus"] is None) != (given == ["trained"]):
        raise InputError(
            f"{where} has a corpus, but reads the text that {settings['trained']} is trained on:"
            " take out one of corpus and trained."
            if settings["trained"]
            else f"{where} lacks 'corpus', the text that the model reads."
        )
    if settings["path"]:
        try:
            if not gguf_file(settings["path"]):
                check_complete(Path(settings["path"]))
        except InputError as error:
            raise InputError(f"{where}.path: {error}") from None
    if settings["revision"] and not settings["repo"]:
        raise InputError(
            f"{where}.revision is for a repository of the Hub (repo), and {given[0]} names"
            " something else: take out revision, or write revision: null."
        )


def _check_trained(
    where: str, settings: Mapping[str, Any], trained: Mapping[str, Trained]
) -> Trained:
    name = settings["trained"]
    if name not in trained:
        known = ", ".join(trained) or "nothing"
        raise InputError(
            f"{where}.trained is {name}, but must be a name of the section language_models, which"
            f" has {known}."
        )
    most = trained[name].max_validation_tokens
    asked = settings["activations"]["tokens"]["validation"]
    if most is not None and asked > most:
        raise InputError(
            f"{where}: activations.tokens.validation asks for {asked}, but test begins after"
            f" {most} tokens of the validation split of {name}: ask for at most {most}."
        )
    return trained[name]
