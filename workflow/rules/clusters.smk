# Partitions of the layers. Both rules are checkpoints: the SAEs that follow are named by the
# layers they read, so re-clustering to the same clusters trains nothing.


checkpoint cluster_layers:
    input:
        distances="results/{model}/clusters/distances.safetensors",
    output:
        "results/{model}/clusters/partitions.json",
    log:
        "results/logs/{model}/cluster_layers.log",
    benchmark:
        "results/benchmarks/{model}/cluster_layers.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("cluster_layers.py"),
        clustering=section(
            "clustering",
            without=("tokens", "control_counts", "tolerance", "pilot_fraction"),
        ),
    message:
        "Group the layers of {wildcards.model}"
    script:
        "../scripts/cluster_layers.py"


def pilot_reconstructions(wildcards) -> list[str]:
    clustering = MODELS[wildcards.model]["clustering"]
    return collect(
        "results/{model}/evaluation/reconstruction/{variant}/{cluster}.csv",
        model=wildcards.model,
        variant=variants.pilot_variant(clustering["pilot_fraction"]),
        cluster=plan.pilot_clusters(partitions_of(wildcards), clustering),
    )


checkpoint choose_count:
    input:
        partitions="results/{model}/clusters/partitions.json",
        reconstruction=pilot_reconstructions,
    output:
        "results/{model}/clusters/chosen.json",
    log:
        "results/logs/{model}/choose_count.log",
    benchmark:
        "results/benchmarks/{model}/choose_count.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("choose_count.py"),
        method=lambda wildcards: section("clustering", "methods")(wildcards)[0],
        tolerance=section("clustering", "tolerance"),
        pilot_fraction=section("clustering", "pilot_fraction"),
    message:
        "Choose the number of SAEs for {wildcards.model} by pilot trainings"
    script:
        "../scripts/choose_count.py"


def partitions_of(wildcards) -> dict:
    """The content of partitions.json, once the layers have been clustered."""
    with checkpoints.cluster_layers.get(model=wildcards.model).output[0].open() as file:
        return json.load(file)


def chosen_count(wildcards) -> list[str]:
    """The file that says which number of clusters `counts: auto` has settled on, if asked."""
    if MODELS[wildcards.model]["clustering"]["counts"] != "auto":
        return []
    return list(checkpoints.choose_count.get(model=wildcards.model).output)


def planned(what, wildcards) -> list[tuple[str, str]]:
    """What `what` of the plan asks for, once the layers have been clustered."""
    model = MODELS[wildcards.model]
    partitions = partitions_of(wildcards)
    chosen = None
    for file in chosen_count(wildcards):
        chosen = json.loads(Path(file).read_text(encoding="utf-8"))["count"]
    try:
        return what(partitions, model["clustering"], model["evaluation"], chosen)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def collected(pattern: str, what):
    """An input function: `pattern` for every (variant, name) that `what` asks for.

    The pattern may have {seed}, which stands for every seed.
    """

    def files(wildcards) -> list[str]:
        return [
            pattern.format(model=wildcards.model, variant=variant, name=name, seed=seed)
            for variant, name in planned(what, wildcards)
            for seed in (sae_seeds(wildcards) if "{seed}" in pattern else [None])
        ]

    return files
