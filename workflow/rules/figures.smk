# The figures, each from the tables alone, with captions that say how to read them.


localrules:
    figure_specialise,
    figure_layer_distances,
    figure_quality_cost,
    figure_layer_fvu,
    figure_cost,
    figure_training_curves,
    figure_latent_density,


rule figure_specialise:
    input:
        arms="results/{model}/tables/arms.csv",
        comparisons="results/{model}/tables/comparisons.csv",
    output:
        **pictures("specialise"),
    log:
        "results/logs/{model}/figures/specialise.log",
    benchmark:
        "results/benchmarks/{model}/figures/specialise.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_specialise.py"),
        tolerance=params.section("arms", "margins"),
        dpi=160,
    message:
        "Draw what specialising SAEs of {wildcards.model} brings"
    script:
        "../scripts/figure_specialise.py"


rule figure_layer_distances:
    input:
        distances="results/{model}/clusters/distances.csv",
        partitions="results/{model}/clusters/partitions.json",
        arms="results/{model}/tables/arms.csv",
    output:
        **pictures("layer_distances"),
    log:
        "results/logs/{model}/figures/layer_distances.log",
    benchmark:
        "results/benchmarks/{model}/figures/layer_distances.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_layer_distances.py"),
        dpi=160,
    message:
        "Draw the distances between the layers of {wildcards.model}"
    script:
        "../scripts/figure_layer_distances.py"


rule figure_quality_cost:
    input:
        arms="results/{model}/tables/arms.csv",
    output:
        **pictures("quality_cost"),
    log:
        "results/logs/{model}/figures/quality_cost.log",
    benchmark:
        "results/benchmarks/{model}/figures/quality_cost.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_quality_cost.py"),
        tolerance=params.section("arms", "margins"),
        dpi=160,
    message:
        "Draw quality against cost for {wildcards.model}"
    script:
        "../scripts/figure_quality_cost.py"


rule figure_layer_fvu:
    input:
        layer_quality="results/{model}/tables/layer_quality.csv",
        arms="results/{model}/tables/arms.csv",
    output:
        **pictures("layer_fvu"),
    log:
        "results/logs/{model}/figures/layer_fvu.log",
    benchmark:
        "results/benchmarks/{model}/figures/layer_fvu.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_layer_fvu.py"),
        tolerance=params.section("arms", "margins"),
        dpi=160,
    message:
        "Draw the FVU of every layer of {wildcards.model}"
    script:
        "../scripts/figure_layer_fvu.py"


rule figure_cost:
    input:
        cost="results/{model}/tables/cost.csv",
        arms="results/{model}/tables/arms.csv",
    output:
        **pictures("cost"),
    log:
        "results/logs/{model}/figures/cost.log",
    benchmark:
        "results/benchmarks/{model}/figures/cost.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_cost.py"),
        tolerance=params.section("arms", "margins"),
        dpi=160,
    message:
        "Draw measured and predicted cost for {wildcards.model}"
    script:
        "../scripts/figure_cost.py"


rule figure_training_curves:
    input:
        training="results/{model}/tables/training.csv",
        layer_quality="results/{model}/tables/layer_quality.csv",
        arms="results/{model}/tables/arms.csv",
    output:
        **pictures("training_curves"),
    log:
        "results/logs/{model}/figures/training_curves.log",
    benchmark:
        "results/benchmarks/{model}/figures/training_curves.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_training_curves.py"),
        tolerance=params.section("arms", "margins"),
        dpi=160,
    message:
        "Draw the training curves of {wildcards.model}"
    script:
        "../scripts/figure_training_curves.py"


rule figure_latent_density:
    input:
        latent_density="results/{model}/tables/latent_density.csv",
        layer_quality="results/{model}/tables/layer_quality.csv",
        arms="results/{model}/tables/arms.csv",
    output:
        **pictures("latent_density"),
    log:
        "results/logs/{model}/figures/latent_density.log",
    benchmark:
        "results/benchmarks/{model}/figures/latent_density.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_latent_density.py"),
        tolerance=params.section("arms", "margins"),
        dpi=160,
    message:
        "Draw how often the latents of {wildcards.model} fire"
    script:
        "../scripts/figure_latent_density.py"
