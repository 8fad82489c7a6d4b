# From the activations to the plan: distances of layers, partitions, and what pilots settle.


rule layer_distances:
    input:
        shards=inputs.first_shards,
        statistics=inputs.of_home("activations/statistics.safetensors"),
    output:
        tensors="results/{model}/clusters/distances.safetensors",
        table="results/{model}/clusters/distances.csv",
    log:
        "results/logs/{model}/layer_distances.log",
    benchmark:
        "results/benchmarks/{model}/layer_distances.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("layer_distances.py"),
        tokens=params.section("clustering", "tokens"),
    message:
        "Measure the distances between the layers of {wildcards.model}"
    script:
        "../scripts/layer_distances.py"


# A checkpoint, as it decides which pilots there are.
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
        code=params.code("cluster_layers.py"),
        clustering=params.clustering,
    message:
        "Group the layers of {wildcards.model}"
    script:
        "../scripts/cluster_layers.py"


# What `snakemake plan` prints where pilots settle a part of the plan.
rule plan_pilots:
    input:
        partitions="results/{model}/clusters/partitions.json",
    output:
        "results/{model}/pilots.json",
    log:
        "results/logs/{model}/plan_pilots.log",
    benchmark:
        "results/benchmarks/{model}/plan_pilots.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("plan_pilots.py"),
        settings=params.planned,
    message:
        "Plan the pilot trainings of {wildcards.model}"
    script:
        "../scripts/plan_pilots.py"


# SAEs are named by the layers that they read, so a plan with the same clusters trains nothing new.
checkpoint make_plan:
    input:
        partitions="results/{model}/clusters/partitions.json",
        pilots=inputs.of_pilots(
            "results/{model}/evaluation/reconstruction/{variant}/{sae}.csv",
            "evaluated_saes",
        ),
    output:
        "results/{model}/plan.json",
    log:
        "results/logs/{model}/make_plan.log",
    benchmark:
        "results/benchmarks/{model}/make_plan.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("make_plan.py"),
        settings=params.planned,
    message:
        "Plan which SAEs of {wildcards.model} are trained and compared"
    script:
        "../scripts/make_plan.py"


# `snakemake plan`: what will be trained and compared and what it costs, before any of it is paid for.
# Without an output or a benchmark it is never done, and so prints every time.
rule plan:
    input:
        inputs.plans,
    log:
        "results/logs/plan.log",
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("print_plan.py"),
        models=MODELS,
        n_jobs=jobs_at_once(
            workflow.resource_settings.cores, workflow.global_resources.get("gpu")
        ),
    message:
        "Print the plan"
    script:
        "../scripts/print_plan.py"
