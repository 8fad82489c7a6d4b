# The answer in words, from all tables.


localrules:
    verdict,


rule verdict:
    input:
        plan="results/{model}/plan.json",
        arms="results/{model}/tables/arms.csv",
        comparisons="results/{model}/tables/comparisons.csv",
        circuits=lambda wildcards: [
            f"results/{wildcards.model}/tables/{name}.csv"
            for name in ("tasks", "circuits")
            if inputs.tasks(wildcards)
        ],
        features=[
            "results/{model}/tables/features.csv",
            "results/{model}/tables/feature_coverage.csv",
        ],
    output:
        short=report(
            "results/{model}/tables/verdict.txt",
            caption="../report/verdict.rst",
            category="Answer",
            labels={"model": "{model}", "figure": "verdict"},
        ),
        long="results/{model}/tables/verdict_long.txt",
    log:
        "results/logs/{model}/verdict.log",
    benchmark:
        "results/benchmarks/{model}/verdict.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("verdict.py"),
        margins=params.section("arms", "margins"),
        errors=params.first_of("evaluation", "circuits", "errors"),
        ablation=params.first_of("evaluation", "circuits", "ablations"),
    message:
        "Say what the measurements of {wildcards.model} answer"
    script:
        "../scripts/verdict.py"
