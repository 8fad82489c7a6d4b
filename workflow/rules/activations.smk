# The residual stream of every layer, cached once; its statistics and the distances of layers.


rule cache_activations:
    input:
        weights="results/{model}/model/model.safetensors",
        description="results/{model}/model/description.json",
        tokens="results/{model}/corpus/{split}.safetensors",
    output:
        shard="results/{model}/activations/{split}/shard-{shard}.safetensors",
        cost="results/{model}/activations/{split}/shard-{shard}.json",
    log:
        "results/logs/{model}/cache_activations/{split}-{shard}.log",
    benchmark:
        "results/benchmarks/{model}/cache_activations/{split}-{shard}.tsv"
    wildcard_constraints:
        model=models_where(lambda model: not is_shared(model)),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code("cache_activations.py"),
        n_shards=lambda wildcards: len(shard_numbers(wildcards.model, wildcards.split)),
        n_tokens=lambda wildcards: section("activations", "tokens")(wildcards)[
            wildcards.split
        ],
        settings=section("activations", without=("tokens", "shard_tokens")),
    message:
        "Cache the activations of {wildcards.model}: {wildcards.split}, shard {wildcards.shard}"
    script:
        "../scripts/cache_activations.py"


rule activation_statistics:
    input:
        shards=shards("train"),
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
        code=code("activation_statistics.py"),
    message:
        "Take the statistics of every layer of {wildcards.model}"
    script:
        "../scripts/activation_statistics.py"


rule layer_distances:
    input:
        shards=shards("train"),
        statistics="results/{model}/activations/statistics.safetensors",
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
        code=code("layer_distances.py"),
        tokens=section("clustering", "tokens"),
    message:
        "Measure the distances between the layers of {wildcards.model}"
    script:
        "../scripts/layer_distances.py"
