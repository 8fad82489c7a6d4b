# Further seeds of a language model that is trained here, and what all of them come to. SAEs are for
# the model of `training.seed`; the others are trained beside it, in jobs of their own.


localrules:
    tabulate_seeds,
    tabulate_trainings,
    figure_language_model,


use rule train_model as train_model_seed with:
    output:
        config="results/{model}/seeds/{seed}/config.json",
        weights="results/{model}/seeds/{seed}/model.safetensors",
        tokenizer="results/{model}/seeds/{seed}/tokenizer.json",
        tokenizer_config="results/{model}/seeds/{seed}/tokenizer_config.json",
        description="results/{model}/seeds/{seed}/description.json",
        record="results/{model}/seeds/{seed}/training.json",
    log:
        "results/logs/{model}/train_model_seed/{seed}.log",
    benchmark:
        "results/benchmarks/{model}/train_model_seed/{seed}.tsv"
    message:
        "Train the language model {wildcards.model} with seed {wildcards.seed}"


rule measure_generation:
    input:
        weights="results/{model}/model/model.safetensors",
        description="results/{model}/model/description.json",
        tokenizer="results/{model}/model/tokenizer.json",
    output:
        "results/{model}/model/generation.json",
    log:
        "results/logs/{model}/measure_generation.log",
    benchmark:
        "results/benchmarks/{model}/measure_generation.tsv"
    wildcard_constraints:
        model=models_where(is_trained),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("measure_generation.py"),
        seed=lambda wildcards: training_settings(wildcards)["seed"],
    message:
        "Measure how fast {wildcards.model} writes"
    script:
        "../scripts/measure_generation.py"


use rule measure_generation as measure_generation_seed with:
    input:
        weights="results/{model}/seeds/{seed}/model.safetensors",
        description="results/{model}/seeds/{seed}/description.json",
        tokenizer="results/{model}/seeds/{seed}/tokenizer.json",
    output:
        "results/{model}/seeds/{seed}/generation.json",
    log:
        "results/logs/{model}/measure_generation_seed/{seed}.log",
    benchmark:
        "results/benchmarks/{model}/measure_generation_seed/{seed}.tsv"
    message:
        "Measure how fast {wildcards.model} of seed {wildcards.seed} writes"


rule tabulate_seeds:
    input:
        trainings=seed_records("training.json"),
        generations=seed_records("generation.json"),
    output:
        form="results/{model}/tables/seeds.json",
        table="results/{model}/tables/seeds.csv",
        text="results/{model}/tables/seeds.txt",
        curves="results/{model}/tables/learning_curves.csv",
    log:
        "results/logs/{model}/tabulate_seeds.log",
    benchmark:
        "results/benchmarks/{model}/tabulate_seeds.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("tabulate_seeds.py"),
        seeds=training_seeds,
        corpus=recorded_as,
        published=params.section("training", "published"),
        of_same_text=lambda wildcards: not is_stand_in(wildcards),
    message:
        "Put the trainings of {wildcards.model} beside the published run"
    script:
        "../scripts/tabulate_seeds.py"


rule tabulate_trainings:
    input:
        forms=collect("results/{model}/tables/seeds.json", model=recorded_models()),
        tables=collect("results/{model}/tables/seeds.csv", model=recorded_models()),
    output:
        form=ACROSS[0],
        table=ACROSS[1],
    log:
        "results/logs/tabulate_trainings.log",
    benchmark:
        "results/benchmarks/tabulate_trainings.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("tabulate_trainings.py"),
        models=recorded_models(),
    message:
        "Put the trainings of all models into one table"
    script:
        "../scripts/tabulate_trainings.py"


rule figure_language_model:
    input:
        curves="results/{model}/tables/learning_curves.csv",
    output:
        svg="results/{model}/figures/language_model.svg",
        png="results/{model}/figures/language_model.png",
    log:
        "results/logs/{model}/figures/language_model.log",
    benchmark:
        "results/benchmarks/{model}/figures/language_model.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("figure_language_model.py"),
        published=published_curve,
        dpi=160,
    message:
        "Draw how {wildcards.model} learned"
    script:
        "../scripts/figure_language_model.py"
