# Text, language model and activations of a model that is the `same_as` another: the same files.


localrules:
    share_file,


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
        file=r"(?:corpus|model|activations/(?:train|validation|test))/[\w.-]+",
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    params:
        code=code("share_file.py"),
    message:
        "Take {wildcards.file} of {wildcards.model} from where it was made"
    script:
        "../scripts/share_file.py"
