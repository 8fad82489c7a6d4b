# SAEs as other tools read them, in the formats of the section exports.


rule export_saes:
    input:
        plan="results/{model}/plan.json",
        saes=inputs.of_saes(f"{SAE_FOLDER}/sae.safetensors", "evaluated_saes"),
        configs=inputs.of_saes(f"{SAE_FOLDER}/cfg.json", "evaluated_saes"),
        description=inputs.of_home("model/description.json"),
    output:
        "results/{model}/exports/{format}/index.json",
    log:
        "results/logs/{model}/export_saes/{format}.log",
    benchmark:
        "results/benchmarks/{model}/export_saes/{format}.tsv"
    wildcard_constraints:
        format=r"\w+",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=params.code("export_saes.py"),
    message:
        "Export the SAEs of {wildcards.model} to {wildcards.format}"
    script:
        "../scripts/export_saes.py"
