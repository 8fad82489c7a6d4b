# The feature browser: a page for the latents of the first seed, from what the features' rules found.


rule evaluate_directions:
    input:
        # What a new plan changes shows in the files below.
        plan=ancient("results/{model}/plan.json"),
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokenizer=inputs.of_home("model/tokenizer.json"),
        saes=inputs.of_browsed_saes("sae.safetensors"),
        layers=inputs.of_browsed("features", "layers.parquet"),
        baseline="results/{model}/evaluation/features/base/per-layer/layers.parquet",
    output:
        "results/{model}/evaluation/directions.parquet",
    log:
        "results/logs/{model}/evaluate_directions.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_directions.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("evaluate_directions", 6000),
        runtime=growing(120),
    params:
        code=params.code("evaluate_directions.py"),
        arms=params.section("browser", "arms"),
    message:
        "Ask what the latents of {wildcards.model} write"
    script:
        "../scripts/evaluate_directions.py"


rule build_browser:
    input:
        plan="results/{model}/plan.json",
        directions="results/{model}/evaluation/directions.parquet",
        latents=inputs.of_browsed("features", "latents.parquet"),
        layers=inputs.of_browsed("features", "layers.parquet"),
        contexts=inputs.of_browsed("features", "contexts.parquet"),
        rules=inputs.of_browsed("features", "rules.parquet"),
        meaning=inputs.of_browsed("features", "meaning.csv"),
        coverage=inputs.of_browsed("features", "coverage.csv"),
        judge=requested.judge,
    output:
        page="results/{model}/browser/index.html",
        script="results/{model}/browser/browser.js",
        style="results/{model}/browser/browser.css",
        # The last of the data that is written; the pieces beside it are named in it.
        catalogue="results/{model}/browser/data/catalogue.js",
    log:
        "results/logs/{model}/build_browser.log",
    benchmark:
        "results/benchmarks/{model}/build_browser.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        code=params.code("build_browser.py"),
        page=params.contents("clustersae/browser/page"),
        settings=params.section("browser", without=("neuronpedia",)),
    message:
        "Make the feature browser of {wildcards.model}"
    script:
        "../scripts/build_browser.py"


rule write_neuronpedia:
    input:
        plan="results/{model}/plan.json",
        directions="results/{model}/evaluation/directions.parquet",
        latents=inputs.of_browsed("features", "latents.parquet"),
        layers=inputs.of_browsed("features", "layers.parquet"),
        contexts=inputs.of_browsed("features", "contexts.parquet"),
        rules=inputs.of_browsed("features", "rules.parquet"),
        meaning=inputs.of_browsed("features", "meaning.csv"),
        coverage=inputs.of_browsed("features", "coverage.csv"),
    output:
        "results/{model}/neuronpedia/index.json",
    log:
        "results/logs/{model}/write_neuronpedia.log",
    benchmark:
        "results/benchmarks/{model}/write_neuronpedia.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        code=params.code("write_neuronpedia.py"),
        settings=params.section("browser", without=("neuronpedia",)),
    message:
        "Write the latents of {wildcards.model} for Neuronpedia"
    script:
        "../scripts/write_neuronpedia.py"
