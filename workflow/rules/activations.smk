# The residual stream of every layer, cached once, and its statistics.


rule cache_activations:
    input:
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokens=inputs.tokens(),
    output:
        shard="results/{model}/activations/{split}/shard-{shard}.safetensors",
        cost="results/{model}/activations/{split}/shard-{shard}.json",
    log:
        "results/logs/{model}/cache_activations/{split}-{shard}.log",
    benchmark:
        "results/benchmarks/{model}/cache_activations/{split}-{shard}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("cache_activations.py"),
        n_shards=lambda wildcards: inputs.n_shards(wildcards.model, wildcards.split),
        n_tokens=lambda wildcards: params.section("activations", "tokens")(wildcards)[
            wildcards.split
        ],
        settings=params.section("activations", without=("tokens", "shard_tokens")),
    message:
        "Cache the activations of {wildcards.model}: {wildcards.split}, shard {wildcards.shard}"
    script:
        "../scripts/cache_activations.py"


rule activation_statistics:
    input:
        shards=inputs.shards("train"),
    output:
        "results/{model}/activations/statistics.safetensors",
    log:
        "results/logs/{model}/activation_statistics.log",
    benchmark:
        "results/benchmarks/{model}/activation_statistics.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("activation_statistics.py"),
    message:
        "Take the statistics of every layer of {wildcards.model}"
    script:
        "../scripts/activation_statistics.py"
