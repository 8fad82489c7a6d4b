# What an SAE starts from, which settings decide it, and whom it asks for a learning rate.


def start(wildcards) -> list[str]:
    """The SAE that a specialised one starts from; else nothing."""
    name = clusters.parent(wildcards.cluster)
    if not name:
        return []
    folder = SAE_FOLDER.format(
        model=wildcards.model,
        variant=clusters.parent(wildcards.variant),
        name=name,
        seed=wildcards.seed,
    )
    return [f"{folder}/{file}" for file in ("sae.safetensors", "cfg.json")]


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
    sae = section("sae", without=("seeds", "specialise"))(wildcards)
    if clusters.parent(wildcards.cluster):
        rate = section("sae", "specialise", "learning_rate")(wildcards)
        return sae | {"specialise": {"learning_rate": rate}}
    return sae
