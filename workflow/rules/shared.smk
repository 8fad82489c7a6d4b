# Text, language model and activations of a model that is the `same_as` another: the same files.


localrules:
    share_file,
    share_model,


rule share_file:
    input:
        lambda wildcards: "results/{model}/{file}".format(
            model=MODELS[wildcards.model]["same_as"], file=wildcards.file
        ),
    output:
        "results/{model}/{file}",
    log:
        "results/logs/{model}/share_file/{file}.log",
    benchmark:
        "results/benchmarks/{model}/share_file/{file}.tsv"
    wildcard_constraints:
        model=models_where(is_shared),
        file=r"(?:corpus|activations/(?:train|validation|test))/[\w.-]+",
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    params:
        code=params.code("share_files.py"),
    message:
        "Take {wildcards.file} of {wildcards.model} from where it was made"
    script:
        "../scripts/share_files.py"


#: A model's directory, which jobs read as a whole.
MODEL_FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "description.json",
]


rule share_model:
    input:
        lambda wildcards: [
            f"results/{MODELS[wildcards.model]['same_as']}/model/{name}"
            for name in MODEL_FILES
        ],
    output:
        [f"results/{{model}}/model/{name}" for name in MODEL_FILES],
    log:
        "results/logs/{model}/share_model.log",
    benchmark:
        "results/benchmarks/{model}/share_model.tsv"
    wildcard_constraints:
        model=models_where(is_shared),
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    params:
        code=params.code("share_files.py"),
    message:
        "Take the language model {wildcards.model} from where it was made"
    script:
        "../scripts/share_files.py"
