# What caching and training cost, measured job by job.

TRAINING = "results/{model}/saes/{variant}/{sae}/seed-{seed}/training.json"
TRAINING_BENCHMARK = (
    "results/benchmarks/{model}/train_sae/{variant}/{sae}/seed-{seed}.tsv"
)
WINDOW_BENCHMARK = "results/benchmarks/{model}/train_sae_window/{variant}/{sae}/seed-{seed}/{window}.tsv"


rule measure_cost:
    input:
        plan="results/{model}/plan.json",
        caching=streaming.caching(
            "results/{model}/activations/train/shard-{shard}.json",
            "results/{model}/activations/stream/{window}/shard-{shard}.json",
        ),
        caching_benchmarks=streaming.caching(
            "results/benchmarks/{model}/cache_activations/train-{shard}.tsv",
            "results/benchmarks/{model}/cache_window/{window}-{shard}.tsv",
        ),
        saes=inputs.of_saes(TRAINING),
        sae_benchmarks=inputs.of_saes(TRAINING_BENCHMARK),
        window_benchmarks=streaming.of_windows(WINDOW_BENCHMARK),
        pilots=inputs.of_pilots(TRAINING),
        pilot_benchmarks=inputs.of_pilots(TRAINING_BENCHMARK),
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
        code=params.code("measure_cost.py"),
    message:
        "Add up what caching and training cost for {wildcards.model}"
    script:
        "../scripts/measure_cost.py"


figures.add(
    "cost",
    "clustersae.cost.figure",
    "Cost",
    tables={"cost": "tables/cost.csv", "arms": "tables/arms.csv"},
)
