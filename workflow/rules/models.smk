# The language model under study, as a Hugging Face directory, and the text that it reads.


rule import_model:
    input:
        # What these contain stands in a param: their time stamps say nothing.
        files=ancient(inputs.model_files),
        trained=inputs.trained_files,
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
    resources:
        mem_mb=memory_of_import(8000),
        runtime=growing(120),
    params:
        code=params.code("import_model.py"),
        path=inputs.model_folder,
        contents=inputs.model_contents,
        repo=params.section("repo"),
        revision=params.section("revision"),
        trust_remote_code=params.section("trust_remote_code"),
        dtype=params.section("dtype"),
        device_map=params.section("device_map"),
    message:
        "Import the language model {wildcards.model}"
    script:
        "../scripts/import_model.py"


rule tokenise_corpus:
    input:
        files=ancient(inputs.corpus_files),
        tokenizer="results/{model}/model/tokenizer.json",
        tokenizer_config="results/{model}/model/tokenizer_config.json",
        description="results/{model}/model/description.json",
    output:
        train="results/{model}/corpus/train.safetensors",
        validation="results/{model}/corpus/validation.safetensors",
        test="results/{model}/corpus/test.safetensors",
        summary="results/{model}/corpus/corpus.json",
    log:
        "results/logs/{model}/tokenise_corpus.log",
    benchmark:
        "results/benchmarks/{model}/tokenise_corpus.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=memory.of("tokenise_corpus", 4000),
        runtime=growing(60),
    params:
        code=params.code("tokenise_corpus.py"),
        corpus=params.section("corpus"),
        contents=inputs.corpus_contents,
        asked=params.tokens_asked,
    message:
        "Read the corpus with the tokenizer of {wildcards.model}"
    script:
        "../scripts/tokenise_corpus.py"
