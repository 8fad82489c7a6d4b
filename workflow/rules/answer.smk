# The answer, from all tables: a few lines, the same at length, and one figure.


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
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=questions.code,
        questions=questions.modules,
        margins=params.section("arms", "margins"),
        options=questions.options,
    message:
        "Say what the measurements of {wildcards.model} answer"
    script:
        "../scripts/verdict.py"


rule summary_table:
    input:
        arms="results/{model}/tables/arms.csv",
        cost="results/{model}/tables/cost.csv",
        beside=questions.beside,
    output:
        summary="results/{model}/tables/summary.csv",
    log:
        "results/logs/{model}/summary_table.log",
    benchmark:
        "results/benchmarks/{model}/summary_table.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.answer.tabulate"),
        module="clustersae.answer.tabulate",
    message:
        "Put quality and cost of {wildcards.model} side by side"
    script:
        "../scripts/write_tables.py"


figures.add(
    "summary",
    "clustersae.answer.figure_summary",
    "Answer",
    tables={"summary": "tables/summary.csv"},
    options={"margins": params.section("arms", "margins")},
)
