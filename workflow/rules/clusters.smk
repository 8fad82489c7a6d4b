# Partitions of the layers, and what pilot trainings settle. All rules are checkpoints: the SAEs that
# follow are named by the layers they read, so re-clustering to the same clusters trains nothing.


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
            without=(
                "tokens",
                "control_counts",
                "tolerance",
                "pilot_fraction",
                "specialise",
                "target",
            ),
        ),
    message:
        "Group the layers of {wildcards.model}"
    script:
        "../scripts/cluster_layers.py"


checkpoint choose_count:
    input:
        partitions="results/{model}/clusters/partitions.json",
        reconstruction=piloted(
            "results/{model}/evaluation/reconstruction/{variant}/{name}.csv"
        ),
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


checkpoint choose_specialised:
    input:
        partitions="results/{model}/clusters/partitions.json",
        reconstruction=specialised_pilots(
            "results/{model}/evaluation/reconstruction/{variant}/{name}.csv",
            plan.evaluated_saes,
        ),
    output:
        "results/{model}/clusters/chosen_specialised.json",
    log:
        "results/logs/{model}/choose_specialised.log",
    benchmark:
        "results/benchmarks/{model}/choose_specialised.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("choose_specialised.py"),
        piloting=piloting,
        target=section("clustering", "target"),
    message:
        "Choose how SAEs of {wildcards.model} are specialised by pilot trainings"
    script:
        "../scripts/choose_specialised.py"
