# What each SAE keeps, what each arm keeps, and what they cost.


rule evaluate_reconstruction:
    input:
        saes=trained("sae.safetensors"),
        configs=trained("cfg.json"),
        validation=shards("validation"),
        test=shards("test"),
    output:
        reconstruction="results/{model}/evaluation/reconstruction/{variant}/{cluster}.csv",
        density="results/{model}/evaluation/density/{variant}/{cluster}.csv",
    log:
        "results/logs/{model}/evaluate_reconstruction/{variant}/{cluster}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_reconstruction/{variant}/{cluster}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code("evaluate_reconstruction.py"),
    message:
        "Evaluate the SAEs of layers {wildcards.cluster} of {wildcards.model} ({wildcards.variant})"
    script:
        "../scripts/evaluate_reconstruction.py"


rule evaluate_language_model:
    input:
        weights="results/{model}/model/model.safetensors",
        description="results/{model}/model/description.json",
        tokens="results/{model}/corpus/test.safetensors",
        statistics="results/{model}/activations/statistics.safetensors",
    output:
        "results/{model}/evaluation/language_model.csv",
    log:
        "results/logs/{model}/evaluate_language_model.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_language_model.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code("evaluate_language_model.py"),
        n_tokens=section("evaluation", "splice_tokens"),
        batch_rows=section("evaluation", "batch_rows"),
    message:
        "Measure {wildcards.model} itself, and with layers ablated"
    script:
        "../scripts/evaluate_language_model.py"


rule evaluate_splice:
    input:
        saes=partition_saes("sae.safetensors"),
        configs=partition_saes("cfg.json"),
        weights="results/{model}/model/model.safetensors",
        description="results/{model}/model/description.json",
        tokens="results/{model}/corpus/test.safetensors",
        language_model="results/{model}/evaluation/language_model.csv",
    output:
        each_layer="results/{model}/evaluation/splice/{variant}/{partition}/layers.csv",
        all_layers="results/{model}/evaluation/splice/{variant}/{partition}/all.csv",
    log:
        "results/logs/{model}/evaluate_splice/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_splice/{variant}/{partition}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code("evaluate_splice.py"),
        n_tokens=section("evaluation", "splice_tokens"),
        batch_rows=section("evaluation", "batch_rows"),
    message:
        "Splice SAEs into {wildcards.model}: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/evaluate_splice.py"


rule measure_cost:
    input:
        caching=caching_files("results/{model}/activations/train/shard-{shard}.json"),
        caching_benchmarks=caching_files(
            "results/benchmarks/{model}/cache_activations/train-{shard}.tsv"
        ),
        saes=collected(
            "results/{model}/saes/{variant}/{name}/seed-{seed}/training.json",
            plan.trained_saes,
        ),
        sae_benchmarks=collected(
            "results/benchmarks/{model}/train_sae/{variant}/{name}/seed-{seed}.tsv",
            plan.trained_saes,
        ),
        pilots=piloted(
            "results/{model}/saes/{variant}/{name}/seed-{seed}/training.json"
        ),
        specialised_pilots=specialised_pilots(
            "results/{model}/saes/{variant}/{name}/seed-{seed}/training.json",
            plan.trained_saes,
        ),
        specialised_pilot_benchmarks=specialised_pilots(
            "results/benchmarks/{model}/train_sae/{variant}/{name}/seed-{seed}.tsv",
            plan.trained_saes,
        ),
        pilot_benchmarks=piloted(
            "results/benchmarks/{model}/train_sae/{variant}/{name}/seed-{seed}.tsv"
        ),
    output:
        "results/{model}/evaluation/cost.csv",
    log:
        "results/logs/{model}/measure_cost.log",
    benchmark:
        "results/benchmarks/{model}/measure_cost.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("measure_cost.py"),
    message:
        "Add up what caching and training cost for {wildcards.model}"
    script:
        "../scripts/measure_cost.py"


localrules:
    tables,


rule tables:
    input:
        partitions="results/{model}/clusters/partitions.json",
        chosen=chosen_count,
        specialised=chosen_specialised,
        reconstruction=collected(
            "results/{model}/evaluation/reconstruction/{variant}/{name}.csv",
            plan.evaluated_saes,
        ),
        density=collected(
            "results/{model}/evaluation/density/{variant}/{name}.csv",
            plan.evaluated_saes,
        ),
        layer_splice=collected(
            "results/{model}/evaluation/splice/{variant}/{name}/layers.csv",
            plan.spliced_arms,
        ),
        partition_splice=collected(
            "results/{model}/evaluation/splice/{variant}/{name}/all.csv",
            plan.spliced_arms,
        ),
        histories=collected(
            "results/{model}/saes/{variant}/{name}/seed-{seed}/history.csv",
            plan.trained_saes,
        ),
        cost="results/{model}/evaluation/cost.csv",
    output:
        layer_quality="results/{model}/tables/layer_quality.csv",
        arms="results/{model}/tables/arms.csv",
        comparisons="results/{model}/tables/comparisons.csv",
        cost="results/{model}/tables/cost.csv",
        training="results/{model}/tables/training.csv",
        latent_density="results/{model}/tables/latent_density.csv",
    log:
        "results/logs/{model}/tables.log",
    benchmark:
        "results/benchmarks/{model}/tables.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code("tables.py"),
        asked=asked,
        margins=section("arms", "margins"),
        n_bootstrap=section("evaluation", "bootstrap"),
        seed=section("evaluation", "seed"),
    message:
        "Put the tables of {wildcards.model} together"
    script:
        "../scripts/tables.py"
