# The residual stream of the studied layers, cached once, and its statistics.


# Before anything is cached, so that all shards agree on what is left out.
rule measure_norms:
    input:
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokens=inputs.tokens("train"),
    output:
        "results/{model}/activations/norms.safetensors",
    log:
        "results/logs/{model}/measure_norms.log",
    benchmark:
        "results/benchmarks/{model}/measure_norms.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("measure_norms", 4000),
        runtime=growing(60),
    params:
        code=params.code("measure_norms.py"),
        layers=params.section("activations", "layers"),
        multiple=params.section("activations", "max_norm_multiple"),
        batch_rows=params.section("activations", "batch_rows"),
    message:
        "Measure how large the activations of {wildcards.model} are"
    script:
        "../scripts/measure_norms.py"


rule cache_activations:
    input:
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokens=inputs.tokens(),
        limits=inputs.of_home("activations/norms.safetensors"),
    output:
        shard="results/{model}/activations/{split}/shard-{shard}.safetensors",
        cost="results/{model}/activations/{split}/shard-{shard}.json",
    log:
        "results/logs/{model}/cache_activations/{split}-{shard}.log",
    benchmark:
        "results/benchmarks/{model}/cache_activations/{split}-{shard}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("cache_activations", 4000),
        runtime=growing(60),
    params:
        code=params.code("cache_activations.py"),
        split=lambda wildcards: wildcards.split,
        n_shards=lambda wildcards: inputs.n_shards(wildcards.model, wildcards.split),
        n_tokens=lambda wildcards: params.section("activations", "tokens")(wildcards)[
            wildcards.split
        ],
        settings=params.section(
            "activations",
            without=(
                *("tokens", "shard_tokens", "layers", "max_norm_multiple"),
                *("window", "keep"),
            ),
        ),
    message:
        "Cache the activations of {wildcards.model}: {wildcards.split}, shard {wildcards.shard}"
    script:
        "../scripts/cache_activations.py"


# Where shards of training tokens are not kept: those of a later window, once there is room.
use rule cache_activations as cache_window with:
    input:
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokens=inputs.tokens("train"),
        limits=inputs.of_home("activations/norms.safetensors"),
        read=ancient(streaming.read),
    output:
        shard=temp(
            "results/{model}/activations/stream/{window}/shard-{shard}.safetensors"
        ),
        cost="results/{model}/activations/stream/{window}/shard-{shard}.json",
    log:
        "results/logs/{model}/cache_window/{window}-{shard}.log",
    benchmark:
        "results/benchmarks/{model}/cache_window/{window}-{shard}.tsv"
    params:
        split="train",
        n_shards=lambda wildcards: inputs.n_shards(wildcards.model, "train"),
        n_tokens=params.section("activations", "tokens", "train"),
    message:
        "Cache the activations of {wildcards.model}: window {wildcards.window}, shard {wildcards.shard}"


rule activation_statistics:
    input:
        shards=inputs.first_shards,
        limits="results/{model}/activations/norms.safetensors",
    output:
        statistics="results/{model}/activations/statistics.safetensors",
        table="results/{model}/activations/stream.csv",
    log:
        "results/logs/{model}/activation_statistics.log",
    benchmark:
        "results/benchmarks/{model}/activation_statistics.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("activation_statistics.py"),
    message:
        "Take the statistics of every layer of {wildcards.model}"
    script:
        "../scripts/activation_statistics.py"
