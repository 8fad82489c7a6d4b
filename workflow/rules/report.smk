# One page for each model, for people: the answer, figures, tables, settings, machine and cost.

page = Page(
    MODELS,
    figures,
    questions,
    SCRIPTS.parent / "schemas" / "config.schema.yaml",
    trained=config.get("language_models"),
)


rule report_page:
    input:
        verdict="results/{model}/tables/verdict.json",
        at_length="results/{model}/tables/verdict_long.txt",
        figures=page.figures,
        tables=page.tables,
        cost="results/{model}/evaluation/cost.csv",
    output:
        "results/{model}/report.html",
    log:
        "results/logs/{model}/report_page.log",
    benchmark:
        "results/benchmarks/{model}/report_page.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("report_page.py"),
        assets=params.contents("clustersae/report/assets"),
        captions=page.captions,
        settings=page.settings,
    message:
        "Write the page of {wildcards.model}"
    script:
        "../scripts/report_page.py"
