# SAEs and their training as other tools read them, as the section exports asks.


rule export_saes:
    input:
        plan="results/{model}/plan.json",
        saes=inputs.of_saes(f"{SAE_FOLDER}/sae.safetensors", "exported_saes"),
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
        mem_mb=memory.of("export_saes", 4000),
        runtime=growing(60),
    params:
        code=params.code("export_saes.py"),
        rows=params.rows,
    message:
        "Export the SAEs of {wildcards.model} to {wildcards.format}"
    script:
        "../scripts/export_saes.py"


rule track_training:
    input:
        history=f"{SAE_FOLDER}/history.csv",
        config=f"{SAE_FOLDER}/cfg.json",
    output:
        directory("results/{model}/tracking/{tracker}/{variant}/{sae}/seed-{seed}"),
    log:
        "results/logs/{model}/track_training/{tracker}/{variant}/{sae}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/{model}/track_training/{tracker}/{variant}/{sae}/seed-{seed}.tsv"
    wildcard_constraints:
        tracker=r"\w+",
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=params.code("track_training.py"),
    message:
        "Write the training of SAE {wildcards.sae} of {wildcards.model} for {wildcards.tracker} ({wildcards.variant}, seed {wildcards.seed})"
    script:
        "../scripts/track_training.py"
