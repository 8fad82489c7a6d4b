# Text and the language model that reads it: trained here on the corpus, or imported.

TOKEN_FILES = {
    split: f"results/{{model}}/corpus/{split}.safetensors"
    for split in ("train", "validation", "test")
}


rule build_corpus:
    input:
        files=corpus_files,
    output:
        **TOKEN_FILES,
        summary="results/{model}/corpus/corpus.json",
        tokenizer="results/{model}/corpus/tokenizer.json",
        tokenizer_config="results/{model}/corpus/tokenizer_config.json",
    log:
        "results/logs/{model}/build_corpus.log",
    benchmark:
        "results/benchmarks/{model}/build_corpus.tsv"
    wildcard_constraints:
        model=models_where(is_trained_on_text),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("build_corpus.py"),
        corpus=params.section("corpus", without=("n_ctx", "cache")),
        n_ctx=params.section("corpus", "n_ctx"),
        cache=corpus_cache,
        asked=tokens_asked,
    message:
        "Build the corpus of {wildcards.model}"
    script:
        "../scripts/build_corpus.py"


use rule build_corpus as generate_corpus with:
    input:
        [],
    output:
        **TOKEN_FILES,
        summary="results/{model}/corpus/corpus.json",
        tokenizer="results/{model}/corpus/tokenizer.json",
        tokenizer_config="results/{model}/corpus/tokenizer_config.json",
        factors="results/{model}/corpus/factors.parquet",
    log:
        "results/logs/{model}/generate_corpus.log",
    benchmark:
        "results/benchmarks/{model}/generate_corpus.tsv"
    wildcard_constraints:
        model=models_where(is_trained_on_toy),
    message:
        "Generate the sentences of {wildcards.model}"


use rule build_corpus as tokenise_corpus with:
    input:
        files=corpus_files,
        tokenizer="results/{model}/model/tokenizer.json",
        tokenizer_config="results/{model}/model/tokenizer_config.json",
        config="results/{model}/model/config.json",
    output:
        **TOKEN_FILES,
        summary="results/{model}/corpus/corpus.json",
    log:
        "results/logs/{model}/tokenise_corpus.log",
    benchmark:
        "results/benchmarks/{model}/tokenise_corpus.tsv"
    wildcard_constraints:
        model=models_where(is_imported),
    params:
        code=params.code("build_corpus.py"),
        corpus=params.section("corpus", without=("n_ctx", "cache")),
        n_ctx=params.section("corpus", "n_ctx"),
        asked=tokens_asked,
    message:
        "Read the corpus with the tokenizer of {wildcards.model}"


rule train_model:
    input:
        train="results/{model}/corpus/train.safetensors",
        validation="results/{model}/corpus/validation.safetensors",
        tokenizer="results/{model}/corpus/tokenizer.json",
        tokenizer_config="results/{model}/corpus/tokenizer_config.json",
    output:
        config="results/{model}/model/config.json",
        weights="results/{model}/model/model.safetensors",
        tokenizer="results/{model}/model/tokenizer.json",
        tokenizer_config="results/{model}/model/tokenizer_config.json",
        description="results/{model}/model/description.json",
        record="results/{model}/model/training.json",
    log:
        "results/logs/{model}/train_model.log",
    benchmark:
        "results/benchmarks/{model}/train_model.tsv"
    wildcard_constraints:
        model=models_where(is_trained),
    conda:
        "../../envs/torch.yaml"
    # On the CPU, a second thread makes the demo's small model slower; and the bits of a training
    # depend on the number of threads.
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=params.code("train_model.py"),
        architecture=params.section("architecture"),
        training=training_settings,
        check_tasks=lambda wildcards: is_toy(MODELS[wildcards.model]),
    message:
        "Train the language model {wildcards.model}"
    script:
        "../scripts/train_model.py"


rule import_model:
    input:
        files=model_files,
    output:
        config="results/{model}/model/config.json",
        weights="results/{model}/model/model.safetensors",
        tokenizer="results/{model}/model/tokenizer.json",
        tokenizer_config="results/{model}/model/tokenizer_config.json",
        description="results/{model}/model/description.json",
    log:
        "results/logs/{model}/import_model.log",
    benchmark:
        "results/benchmarks/{model}/import_model.tsv"
    wildcard_constraints:
        model=models_where(is_imported),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=params.code("import_model.py"),
        source=params.section("source"),
        path=lambda wildcards: MODELS[wildcards.model]["path"]
        or MODELS[wildcards.model]["repo"],
        revision=params.section("revision"),
        trust_remote_code=params.section("trust_remote_code"),
    message:
        "Import the language model {wildcards.model}"
    script:
        "../scripts/import_model.py"
