# Text and the language model that reads it: trained here on the corpus, or imported.

TOKEN_FILES = {
    split: f"results/{{model}}/corpus/{split}.safetensors"
    for split in ("train", "validation", "test")
}


def is_trained(model: dict) -> bool:
    return model["source"] == "train"


def is_imported(model: dict) -> bool:
    return not is_trained(model)


def is_toy(model: dict) -> bool:
    return model["corpus"]["source"] == "toy-english"


def is_trained_on_text(model: dict) -> bool:
    return is_trained(model) and not is_toy(model)


def corpus_files(wildcards) -> list[str]:
    """The local files of a corpus: inputs, so that editing the text re-runs what reads it."""
    corpus = MODELS[wildcards.model]["corpus"]
    return corpus["files"] if corpus["source"] in ("text", "jsonl") else []


rule build_corpus:
    message:
        "Build the corpus of {wildcards.model}"
    wildcard_constraints:
        model=models_where(is_trained_on_text),
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
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code("build_corpus.py"),
        corpus=section("corpus", without=("n_ctx",)),
        n_ctx=section("corpus", "n_ctx"),
        model_dir=None,
    script:
        "../scripts/build_corpus.py"


use rule build_corpus as generate_corpus with:
    message:
        "Generate the sentences of {wildcards.model}"
    wildcard_constraints:
        model=models_where(is_toy),
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


use rule build_corpus as tokenise_corpus with:
    message:
        "Read the corpus with the tokenizer of {wildcards.model}"
    wildcard_constraints:
        model=models_where(is_imported),
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
    params:
        code=code("build_corpus.py"),
        corpus=section("corpus", without=("n_ctx",)),
        n_ctx=section("corpus", "n_ctx"),
        model_dir="results/{model}/model",


rule train_model:
    message:
        "Train the language model {wildcards.model}"
    wildcard_constraints:
        model=models_where(is_trained),
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
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=code("train_model.py"),
        architecture=lambda wildcards: {
            **MODELS[wildcards.model]["architecture"],
            "n_ctx": MODELS[wildcards.model]["corpus"]["n_ctx"],
        },
        training=section("training"),
        check_tasks=lambda wildcards: is_toy(MODELS[wildcards.model]),
    script:
        "../scripts/train_model.py"


rule import_model:
    message:
        "Import the language model {wildcards.model}"
    wildcard_constraints:
        model=models_where(is_imported),
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
    conda:
        "../../envs/torch.yaml"
    retries: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        code=code("import_model.py"),
        source=section("source"),
        path=lambda wildcards: MODELS[wildcards.model]["path"] or MODELS[wildcards.model]["repo"],
        revision=section("revision"),
        trust_remote_code=section("trust_remote_code"),
    script:
        "../scripts/import_model.py"
