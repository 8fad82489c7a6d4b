# Which files a job reads and writes: functions of its wildcards, stage by stage.

import math
from pathlib import Path


def wanted_records() -> list[str]:
    """The table of seeds of every model whose trainings are recorded."""
    files = [f"results/{name}/tables/seeds.json" for name in recorded_models()]
    return [*files, *ACROSS] if len(files) > 1 else files


#: The trainings of several models in one table.
ACROSS = ("results/trainings/trainings.json", "results/trainings/trainings.csv")


def recorded_models() -> list[str]:
    return [name for name, model in MODELS.items() if is_recorded(model)]


from clustersae.corpora import named


def is_shared(model: dict) -> bool:
    """Whether text, language model and activations are those of another model."""
    return model["same_as"] is not None


def is_trained(model: dict) -> bool:
    return model["source"] == "train" and not is_shared(model)


def is_imported(model: dict) -> bool:
    return model["source"] != "train" and not is_shared(model)


def is_toy(model: dict) -> bool:
    return model["corpus"]["source"] == "toy-english"


def is_trained_on_toy(model: dict) -> bool:
    return is_trained(model) and is_toy(model)


def is_trained_on_text(model: dict) -> bool:
    return is_trained(model) and not is_toy(model)


def is_recorded(model: dict) -> bool:
    """Whether all seeds of a model that is trained here are tabulated."""
    return is_trained(model) and model["training"]["record"]


def training_seeds(wildcards) -> list[int]:
    """The seed of the model under study, then those trained beside it."""
    training = MODELS[wildcards.model]["training"]
    return [training["seed"], *training["other_seeds"]]


def seed_records(name: str):
    """An input function: a record of the model of every seed, in the order of `training_seeds`."""

    def files(wildcards) -> list[str]:
        folder = f"results/{wildcards.model}"
        others = training_seeds(wildcards)[1:]
        places = [f"{folder}/model", *(f"{folder}/seeds/{seed}" for seed in others)]
        return [f"{place}/{name}" for place in places]

    return files


def training_settings(wildcards) -> dict:
    """How a model is trained: as `training` says, with the wildcard's seed if it has one."""
    settings = params.section(
        "training", without=("other_seeds", "record", "published")
    )
    seed = wildcards.get("seed")
    return settings(wildcards) | ({} if seed is None else {"seed": int(seed)})


def recorded_as(wildcards) -> str:
    """What the published form calls a model: its corpus, where that is known by name."""
    published = MODELS[wildcards.model]["training"]["published"]
    if published and is_stand_in(wildcards):
        return f"{published} (on another text)"
    return published or wildcards.model


def is_stand_in(wildcards) -> bool:
    """Whether a named corpus is another text on purpose, of which losses say nothing."""
    return MODELS[wildcards.model]["corpus"]["checksum"] == "any"


def published_curve(wildcards) -> str | None:
    """The run whose validation loss a figure shows; none beside the losses of another text."""
    published = MODELS[wildcards.model]["training"]["published"]
    return None if is_stand_in(wildcards) else published


def corpus_files(wildcards) -> list[str]:
    """The local files of a corpus: inputs, so that editing the text re-runs what reads it."""
    corpus = MODELS[wildcards.model]["corpus"]
    if corpus["source"] == "named":
        return [corpus["path"]] if corpus["path"] else []
    return corpus["files"] if corpus["source"] in ("text", "jsonl") else []


def corpus_cache(wildcards, input) -> str:
    """Where downloaded corpora lie, as seen by whoever starts Snakemake.

    Not tracked, as below: the folder says nothing about the text.
    """
    return str(
        named.cache_folder(MODELS[wildcards.model]["corpus"]["cache"]).absolute()
    )


def tokens_asked(wildcards, input) -> dict[str, list]:
    """What the experiment will read of each split, so that too small a corpus is found at once.

    Snakemake does not track params that may depend on `input`: asking for more tokens later must
    not build the corpus, and with it train the model, again. Caching checks once more.
    """
    model = MODELS[wildcards.model]
    asked = {
        f"activations.tokens.{split}": [split, n_tokens]
        for split, n_tokens in model["activations"]["tokens"].items()
    }
    return {
        **asked,
        "evaluation.splice_tokens": ["test", model["evaluation"]["splice_tokens"]],
    }


def model_files(wildcards) -> list[str]:
    """The files of a local model: inputs, so that a model that was replaced is imported again."""
    model = MODELS[wildcards.model]
    if model["source"] != "local":
        return []
    folder = Path(model["path"])
    patterns = ("*.json", "*.safetensors")
    return [str(file) for pattern in patterns for file in sorted(folder.glob(pattern))]


def factors(wildcards) -> list[str]:
    """The known factors of the text, where it is toy English; else nothing."""
    if not is_toy(MODELS[wildcards.model]):
        return []
    return [f"results/{wildcards.model}/corpus/factors.parquet"]
