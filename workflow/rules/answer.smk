# The answer, from all tables: a few lines, and the same at length.


localrules:
    verdict,


rule verdict:
    input:
        partitions="results/{model}/clusters/partitions.json",
        tables=questions.tables,
    output:
        parts="results/{model}/tables/verdict.json",
        long="results/{model}/tables/verdict_long.txt",
        short=report(
            "results/{model}/tables/verdict.txt",
            caption="../report/verdict.rst",
            category="Answer",
            labels={"model": "{model}", "figure": "verdict"},
        ),
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
        code=questions.code,
        questions=questions.modules,
        margins=params.section("arms", "margins"),
        errors=ERRORS,
        ablation=ABLATION,
    message:
        "Say what the measurements of {wildcards.model} answer"
    script:
        "../scripts/verdict.py"
