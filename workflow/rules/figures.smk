# All figures, each from tables alone. Which there are stands in the rule file of its question.


rule figure:
    input:
        unpack(figures.tables),
    output:
        svg=report(
            "results/{model}/figures/{figure}.svg",
            caption="../report/figure.rst",
            category=figures.category,
            labels={"model": "{model}", "figure": "{figure}"},
        ),
        png="results/{model}/figures/{figure}.png",
        pdf="results/{model}/figures/{figure}.pdf",
    log:
        "results/logs/{model}/figures/{figure}.log",
    benchmark:
        "results/benchmarks/{model}/figures/{figure}.tsv"
    wildcard_constraints:
        figure=figures.pattern,
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=figures.code,
        module=figures.module,
        options=figures.options,
        caption=figures.caption,
    message:
        "Draw the figure {wildcards.figure} of {wildcards.model}"
    script:
        "../scripts/draw.py"
