# What latents mean, and whether a shared one means the same on every layer. Every arm is one job.


FEATURES = "results/{model}/evaluation/features/{variant}/{partition}"


rule evaluate_features:
    input:
        saes=inputs.of_arm("sae.safetensors"),
        baseline=inputs.of_saes(f"{SAE_FOLDER}/sae.safetensors", "baseline_saes"),
        test=inputs.shards("test"),
        validation=inputs.shards("validation"),
        tokens=inputs.tokens("test"),
        validation_tokens=inputs.tokens("validation"),
        tokenizer=inputs.of_home("model/tokenizer.json"),
        factors=inputs.factors,
    output:
        latents=f"{FEATURES}/latents.parquet",
        layers=f"{FEATURES}/layers.parquet",
        contexts=f"{FEATURES}/contexts.parquet",
        rules=f"{FEATURES}/rules.parquet",
        meaning=f"{FEATURES}/meaning.csv",
        kept=f"{FEATURES}/kept.csv",
        sweep=f"{FEATURES}/sweep.csv",
        similarity=f"{FEATURES}/similarity.csv",
        coverage=f"{FEATURES}/coverage.csv",
    log:
        "results/logs/{model}/evaluate_features/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_features/{variant}/{partition}.tsv"
    group:
        groups.of_arms("evaluate_features")
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("evaluate_features", 4000),
        runtime=growing(120),
    params:
        code=params.code("evaluate_features.py"),
        settings=params.section("evaluation", "features"),
        seed=params.section("evaluation", "seed"),
    message:
        "Ask what the latents of {wildcards.model} mean: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/evaluate_features.py"


rule judge_features:
    input:
        contexts=f"{FEATURES}/contexts.parquet",
    output:
        scores="results/{model}/evaluation/judge/{variant}/{partition}/scores.csv",
    log:
        "results/logs/{model}/judge_features/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/judge_features/{variant}/{partition}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        code=params.code("judge_features.py"),
        settings=params.section("evaluation", "judge"),
        seed=params.section("evaluation", "seed"),
        # Answers outlive a job that fails: they are no output, which would be deleted.
        store="results/{model}/evaluation/judge/{variant}/{partition}/answers.jsonl",
    message:
        "Let a judge explain and recognise latents of {wildcards.model}: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/judge_features.py"


rule feature_tables:
    input:
        plan="results/{model}/plan.json",
        latents=inputs.of_arms("features", "latents.parquet", "interpreted_arms"),
        layers=inputs.of_arms("features", "layers.parquet", "interpreted_arms"),
        meaning=inputs.of_arms("features", "meaning.csv", "interpreted_arms"),
        kept=inputs.of_arms("features", "kept.csv", "interpreted_arms"),
        similarity=inputs.of_arms("features", "similarity.csv", "interpreted_arms"),
        coverage=inputs.of_arms("features", "coverage.csv", "interpreted_arms"),
        sweep=inputs.of_arms("features", "sweep.csv", "interpreted_arms"),
        judge=requested.judge,
    output:
        features="results/{model}/tables/features.csv",
        meaning="results/{model}/tables/feature_meaning.csv",
        coverage="results/{model}/tables/feature_coverage.csv",
        sweep="results/{model}/tables/feature_sweep.csv",
    log:
        "results/logs/{model}/feature_tables.log",
    benchmark:
        "results/benchmarks/{model}/feature_tables.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.features.tabulate"),
        module="clustersae.features.tabulate",
    message:
        "Summarise what the latents of {wildcards.model} mean"
    script:
        "../scripts/write_tables.py"


figures.add(
    "features",
    "clustersae.features.figure",
    "Features",
    tables={
        "features": "tables/features.csv",
        "meaning": "tables/feature_meaning.csv",
        "coverage": "tables/feature_coverage.csv",
    },
)
questions.add(
    "Features",
    "clustersae.features.text",
    ("features", "feature_coverage", "feature_sweep"),
)
