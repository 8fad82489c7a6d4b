# What each SAE keeps, what each arm keeps, and what they cost.


rule evaluate_reconstruction:
    input:
        saes=inputs.of_sae("sae.safetensors"),
        validation=inputs.shards("validation"),
        test=inputs.shards("test"),
    output:
        reconstruction="results/{model}/evaluation/reconstruction/{variant}/{sae}.csv",
        density="results/{model}/evaluation/density/{variant}/{sae}.csv",
    log:
        "results/logs/{model}/evaluate_reconstruction/{variant}/{sae}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_reconstruction/{variant}/{sae}.tsv"
    group:
        groups.of_saes("evaluate_reconstruction")
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("evaluate_reconstruction", 4000),
        runtime=growing(60),
    params:
        code=params.code("evaluate_reconstruction.py"),
    message:
        "Evaluate the SAEs of layers {wildcards.sae} of {wildcards.model} ({wildcards.variant})"
    script:
        "../scripts/evaluate_reconstruction.py"


rule evaluate_language_model:
    input:
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokens=inputs.tokens("test"),
        statistics=inputs.of_home("activations/statistics.safetensors"),
        limits=inputs.of_home("activations/norms.safetensors"),
    output:
        "results/{model}/evaluation/language_model.csv",
    log:
        "results/logs/{model}/evaluate_language_model.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_language_model.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("evaluate_language_model", 4000),
        runtime=growing(60),
    params:
        code=params.code("evaluate_language_model.py"),
        n_tokens=params.section("evaluation", "splice_tokens"),
        batch_rows=params.section("evaluation", "batch_rows"),
    message:
        "Measure {wildcards.model} itself, and with layers ablated"
    script:
        "../scripts/evaluate_language_model.py"


rule evaluate_splice:
    input:
        saes=inputs.of_arm("sae.safetensors"),
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokens=inputs.tokens("test"),
        limits=inputs.of_home("activations/norms.safetensors"),
        language_model="results/{model}/evaluation/language_model.csv",
    output:
        each_layer="results/{model}/evaluation/splice/{variant}/{partition}/layers.csv",
        all_layers="results/{model}/evaluation/splice/{variant}/{partition}/all.csv",
    log:
        "results/logs/{model}/evaluate_splice/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_splice/{variant}/{partition}.tsv"
    group:
        groups.of_arms("evaluate_splice")
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("evaluate_splice", 4000),
        runtime=growing(60),
    params:
        code=params.code("evaluate_splice.py"),
        n_tokens=params.section("evaluation", "splice_tokens"),
        batch_rows=params.section("evaluation", "batch_rows"),
    message:
        "Splice SAEs into {wildcards.model}: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/evaluate_splice.py"


rule tables:
    input:
        plan="results/{model}/plan.json",
        reconstruction=inputs.of_saes(
            "results/{model}/evaluation/reconstruction/{variant}/{sae}.csv",
            "evaluated_saes",
        ),
        density=inputs.of_saes(
            "results/{model}/evaluation/density/{variant}/{sae}.csv", "evaluated_saes"
        ),
        layer_splice=inputs.of_arms("splice", "layers.csv"),
        partition_splice=inputs.of_arms("splice", "all.csv"),
        histories=inputs.of_saes(
            "results/{model}/saes/{variant}/{sae}/seed-{seed}/history.csv"
        ),
        cost="results/{model}/evaluation/cost.csv",
        stream=inputs.of_home("activations/stream.csv"),
    output:
        layer_quality="results/{model}/tables/layer_quality.csv",
        arms="results/{model}/tables/arms.csv",
        comparisons="results/{model}/tables/comparisons.csv",
        layers="results/{model}/tables/layers.csv",
        cost="results/{model}/tables/cost.csv",
        training="results/{model}/tables/training.csv",
        latent_density="results/{model}/tables/latent_density.csv",
        stream="results/{model}/tables/stream.csv",
    log:
        "results/logs/{model}/tables.log",
    benchmark:
        "results/benchmarks/{model}/tables.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.quality.tabulate"),
        module="clustersae.quality.tabulate",
        margins=params.section("arms", "margins"),
    message:
        "Put the tables of {wildcards.model} together"
    script:
        "../scripts/write_tables.py"


figures.add(
    "specialise",
    "clustersae.quality.figure_specialise",
    "Quality",
    tables={"arms": "tables/arms.csv", "comparisons": "tables/comparisons.csv"},
    options={"margins": params.section("arms", "margins")},
    wanted=is_specialised,
)
figures.add(
    "quality_cost",
    "clustersae.quality.figure_quality_cost",
    "Quality",
    tables={"arms": "tables/arms.csv"},
    options={"margins": params.section("arms", "margins")},
)
figures.add(
    "layer_fvu",
    "clustersae.quality.figure_layer_fvu",
    "Quality",
    tables={"quality": "tables/layer_quality.csv", "arms": "tables/arms.csv"},
)
figures.add(
    "layer_distances",
    "clustersae.quality.figure_layer_distances",
    "Layers and clusters",
    tables={
        "distances": "clusters/distances.csv",
        "description": "clusters/partitions.json",
        "arms": "tables/arms.csv",
    },
)
figures.add(
    "training_curves",
    "clustersae.quality.figure_training_curves",
    "Training",
    tables={
        "training": "tables/training.csv",
        "quality": "tables/layer_quality.csv",
        "arms": "tables/arms.csv",
    },
)
figures.add(
    "latent_density",
    "clustersae.quality.figure_latent_density",
    "Sparsity",
    tables={
        "density": "tables/latent_density.csv",
        "quality": "tables/layer_quality.csv",
        "arms": "tables/arms.csv",
    },
)
questions.add(
    "Quality and cost",
    "clustersae.quality.text",
    ("arms", "comparisons", "cost"),
)
questions.add(
    "Which tokens count",
    "clustersae.quality.stream",
    ("stream",),
)
