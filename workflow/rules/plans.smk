# From the configuration and the partitions to the SAEs and arms that jobs ask for.

import json


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
    choices = plan.read_choices(chosen_count(wildcards), chosen_specialised(wildcards))
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
        partitions = partitions_of(wildcards)
        try:
            found = plan.specialised_pilots(partitions, piloting(wildcards))
            check_lengths(found, MODELS[wildcards.model])
        except InputError as error:
            raise WorkflowError(str(error)) from None
        return expanded(pattern, wildcards, what(found))

    return files


def sae_seeds(wildcards) -> list[int]:
    return MODELS[wildcards.model]["sae"]["seeds"]


def corresponding_arms(found: list) -> list[tuple[str, str]]:
    """(variant, partition) of the specialised arms, and of the per-layer SAEs beside them."""
    specialised = [arm for arm in found if arm.role == "specialised"]
    compared = [arms.baseline(found), *specialised] if specialised else []
    return [(arm.variant, arm.partition) for arm in compared]


def feature_files(kind: str):
    """An input function: a file about the latents of every arm."""

    def files(wildcards) -> list[str]:
        folder = f"results/{wildcards.model}/evaluation/features"
        pairs = planned(plan.spliced_arms, wildcards)
        return [
            f"{folder}/{variant}/{partition}/{kind}" for variant, partition in pairs
        ]

    return files


def judge_files(wildcards) -> list[str]:
    """What a judge says of every arm's latents, where the configuration names one."""
    if not MODELS[wildcards.model]["evaluation"]["judge"]["base_url"]:
        return []
    folder = f"results/{wildcards.model}/evaluation/judge"
    pairs = planned(plan.spliced_arms, wildcards)
    return [
        f"{folder}/{variant}/{partition}/scores.csv" for variant, partition in pairs
    ]
