# Which files a job reads and writes: functions of its wildcards, stage by stage.

import json
import math
from pathlib import Path

#: Category in the report.
FIGURES = {
    "specialise": "Quality",
    "layer_distances": "Layers and clusters",
    "quality_cost": "Quality",
    "layer_fvu": "Quality",
    "cost": "Cost",
    "training_curves": "Training",
    "latent_density": "Sparsity",
    "correspondence": "Specialised SAEs",
}
#: Drawn only where SAEs are specialised.
OF_SPECIALISED = {"specialise", "correspondence"}


def wanted_figures() -> list[str]:
    """Every figure of every model, in both formats."""
    return [
        f"results/{name}/figures/{figure}.{format}"
        for name, model in MODELS.items()
        for figure in FIGURES
        if model["clustering"]["specialise"] or figure not in OF_SPECIALISED
        for format in ("svg", "png")
    ]


def is_trained(model: dict) -> bool:
    return model["source"] == "train"


def is_imported(model: dict) -> bool:
    return not is_trained(model)


def is_toy(model: dict) -> bool:
    return model["corpus"]["source"] == "toy-english"


def is_trained_on_text(model: dict) -> bool:
    return is_trained(model) and not is_toy(model)


def corpus_files(wildcards) -> list[str]:
    """The local files of a corpus: inputs, so that editing the text re-runs what reads it."""
    corpus = MODELS[wildcards.model]["corpus"]
    return corpus["files"] if corpus["source"] in ("text", "jsonl") else []


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


def shard_numbers(model: str, split: str) -> list[int]:
    activations = MODELS[model]["activations"]
    return list(
        range(math.ceil(activations["tokens"][split] / activations["shard_tokens"]))
    )


def shards(split: str):
    """An input function: the cached activations of one split."""

    def files(wildcards) -> list[str]:
        folder = f"results/{wildcards.model}/activations/{split}"
        return [
            f"{folder}/shard-{n}.safetensors"
            for n in shard_numbers(wildcards.model, split)
        ]

    return files


def caching_files(pattern: str):
    """An input function: a file of every job that cached training activations.

    Held-out splits are cached for the measurements, not for making SAEs, and so cost nothing here.
    """

    def files(wildcards) -> list[str]:
        return [
            pattern.format(model=wildcards.model, shard=shard)
            for shard in shard_numbers(wildcards.model, "train")
        ]

    return files


def partitions_of(wildcards) -> dict:
    """The content of partitions.json, once the layers have been clustered."""
    with checkpoints.cluster_layers.get(model=wildcards.model).output[0].open() as file:
        return json.load(file)


def chosen_count(wildcards) -> list[str]:
    """The file that says which number of clusters `counts: auto` has settled on, if asked."""
    if MODELS[wildcards.model]["clustering"]["counts"] != "auto":
        return []
    return list(checkpoints.choose_count.get(model=wildcards.model).output)


def chosen_specialised(wildcards) -> list[str]:
    """The file that says what `specialise: auto` has settled on, if asked."""
    if MODELS[wildcards.model]["clustering"]["specialise"] != plan.AUTO:
        return []
    return list(checkpoints.choose_specialised.get(model=wildcards.model).output)


def planned(what, wildcards) -> list[tuple[str, str]]:
    """What `what` takes from the experiment's arms, once the layers have been clustered."""
    model = MODELS[wildcards.model]
    partitions = partitions_of(wildcards)
    choices = [
        json.loads(Path(file[0]).read_text(encoding="utf-8")) if file else None
        for file in (chosen_count(wildcards), chosen_specialised(wildcards))
    ]
    try:
        found = plan.requested_arms(partitions, plan.settled(model, *choices))
        check_lengths(found, model)
        return what(found)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def check_lengths(found: list, model: dict) -> None:
    """Raise InputError if an SAE of an arm would get less than a batch, before any is trained."""
    for variant, name in plan.trained_saes(found):
        scale, _ = variants.variant_scales(variant, len(clusters.layers_of(name)))
        count_steps(model["sae"], variant, scale)


def asked(wildcards) -> dict[str, dict]:
    """The settings that decide which arms there are, for jobs that list them again."""
    model = MODELS[wildcards.model]
    evaluation = model["evaluation"]
    lists = ("equal_compute", "equal_exposure", "lengths")
    share = model["sae"]["specialise"]["shared_fraction"]
    without = ("tokens", "pilot_fraction", "tolerance", "target", "distance", "seed")
    return {
        "clustering": section("clustering", without=without)(wildcards),
        "sae": {"specialise": {"shared_fraction": share}},
        "evaluation": {key: evaluation[key] for key in lists},
    }


def expanded(pattern: str, wildcards, pairs: list[tuple[str, str]]) -> list[str]:
    """`pattern` for every (variant, name), and for every seed if it has {seed}."""
    return [
        pattern.format(model=wildcards.model, variant=variant, name=name, seed=seed)
        for variant, name in pairs
        for seed in (sae_seeds(wildcards) if "{seed}" in pattern else [None])
    ]


def collected(pattern: str, what):
    """An input function: `pattern` for every (variant, name) that `what` asks for."""
    return lambda wildcards: expanded(pattern, wildcards, planned(what, wildcards))


def piloted(pattern: str):
    """An input function: `pattern` for every pilot SAE of `counts: auto`; nothing otherwise."""

    def files(wildcards) -> list[str]:
        clustering = MODELS[wildcards.model]["clustering"]
        if clustering["counts"] != "auto":
            return []
        pairs = plan.pilot_saes(partitions_of(wildcards), clustering)
        return expanded(pattern, wildcards, pairs)

    return files


#: Of one SAE; {name} is that of its wildcard `cluster`.
SAE_FOLDER = "results/{model}/saes/{variant}/{name}/seed-{seed}"


def piloting(wildcards) -> dict[str, dict]:
    """The settings that decide the pilots of `specialise: auto`."""
    model = MODELS[wildcards.model]
    share = model["sae"]["specialise"]["shared_fraction"]
    keys = ("methods", "pilot_fraction")
    return {
        "clustering": {key: model["clustering"][key] for key in keys},
        "sae": {"specialise": {"shared_fraction": share}},
    }


def specialised_pilots(pattern: str, what):
    """An input function: `pattern` for the pilots of `specialise: auto`; nothing otherwise."""

    def files(wildcards) -> list[str]:
        if MODELS[wildcards.model]["clustering"]["specialise"] != plan.AUTO:
            return []
        found = plan.specialised_pilots(partitions_of(wildcards), piloting(wildcards))
        try:
            check_lengths(found, MODELS[wildcards.model])
        except InputError as error:
            raise WorkflowError(f"Pilots are too short: {error}") from None
        return expanded(pattern, wildcards, what(found))

    return files


def sae_seeds(wildcards) -> list[int]:
    return MODELS[wildcards.model]["sae"]["seeds"]


def trained(kind: str):
    """An input function: a file of the wildcard's SAE for every seed."""

    def files(wildcards) -> list[str]:
        folder = (
            f"results/{wildcards.model}/saes/{wildcards.variant}/{wildcards.cluster}"
        )
        return [f"{folder}/seed-{seed}/{kind}" for seed in sae_seeds(wildcards)]

    return files


def partition_saes(wildcards) -> list[str]:
    """The SAEs of the wildcard's arm, all seeds."""
    pairs = arms.saes_of(
        partitions_of(wildcards), wildcards.variant, wildcards.partition
    )
    return expanded(f"{SAE_FOLDER}/sae.safetensors", wildcards, pairs)


def start(wildcards) -> list[str]:
    """The SAE that a specialised one starts from, with what is carried over; else nothing."""
    name = clusters.parent(wildcards.cluster)
    if not name:
        return []
    folder = SAE_FOLDER.format(
        model=wildcards.model,
        variant=clusters.parent(wildcards.variant),
        name=name,
        seed=wildcards.seed,
    )
    files = ("sae.safetensors", "cfg.json", "optimizer.safetensors")
    return [f"{folder}/{file}" for file in files]


def rates(wildcards) -> list:
    """The learning rates that the wildcard's SAE has to choose from."""
    return learning_rates(section("sae")(wildcards), wildcards.variant)


def is_first(wildcards) -> bool:
    """Whether the wildcard's seed is the one that learning rates are chosen with."""
    return int(wildcards.seed) == sae_seeds(wildcards)[0]


def tuning_shards(wildcards) -> list[str]:
    """The validation split, for the SAE that chooses a learning rate; else nothing."""
    if len(rates(wildcards)) == 1 or not is_first(wildcards):
        return []
    return shards("validation")(wildcards)


def tuned(wildcards) -> list[str]:
    """The record of the first seed, where that has chosen the learning rate; else nothing."""
    if len(rates(wildcards)) == 1 or is_first(wildcards):
        return []
    folder = SAE_FOLDER.format(
        model=wildcards.model,
        variant=wildcards.variant,
        name=wildcards.cluster,
        seed=sae_seeds(wildcards)[0],
    )
    return [f"{folder}/training.json"]


def sae_settings(wildcards) -> dict:
    """The section `sae` as far as it decides the wildcard's SAE."""
    sae = section("sae", without=("seeds",))(wildcards)
    how = sae["specialise"]
    keys = set(how) - {"shared_fraction"}
    if not clusters.parent(wildcards.cluster):
        keys = {"carry_optimizer"}
    return sae | {"specialise": {key: how[key] for key in sorted(keys)}}


def pictures(figure: str) -> dict:
    """The output of a figure's rule: SVG for the report, PNG beside it."""
    path = f"results/{{model}}/figures/{figure}"
    svg = report(
        f"{path}.svg",
        caption=f"../report/{figure}.rst",
        category=FIGURES[figure],
        labels={"model": "{model}", "figure": figure.replace("_", " ")},
    )
    return {"svg": svg, "png": f"{path}.png"}
