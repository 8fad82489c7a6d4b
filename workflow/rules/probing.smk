# How well a few latents tell what is known of a token, beside the whole activation.


rule evaluate_probing:
    input:
        saes=inputs.of_arm("sae.safetensors"),
        test=inputs.shards("test"),
        validation=inputs.shards("validation"),
        test_tokens=inputs.tokens("test"),
        validation_tokens=inputs.tokens("validation"),
        tokenizer=inputs.of_home("model/tokenizer.json"),
        factors=inputs.factors,
    output:
        "results/{model}/evaluation/probing/{variant}/{partition}/probes.csv",
    log:
        "results/logs/{model}/evaluate_probing/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_probing/{variant}/{partition}.tsv"
    group:
        groups.of_arms("evaluate_probing")
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("evaluate_probing", 4000),
        runtime=growing(120),
    params:
        code=params.code("evaluate_probing.py"),
        n_text=params.section("evaluation", "features", "tokens"),
        n_tokens=params.section("evaluation", "probe_tokens"),
        seed=params.section("evaluation", "seed"),
    message:
        "Probe the latents of {wildcards.model}: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/evaluate_probing.py"


# The same without SAEs: what there is to be told.
use rule evaluate_probing as probe_activations with:
    input:
        test=inputs.shards("test"),
        validation=inputs.shards("validation"),
        test_tokens=inputs.tokens("test"),
        validation_tokens=inputs.tokens("validation"),
        tokenizer=inputs.of_home("model/tokenizer.json"),
        factors=inputs.factors,
    output:
        "results/{model}/evaluation/probing/activations.csv",
    log:
        "results/logs/{model}/probe_activations.log",
    benchmark:
        "results/benchmarks/{model}/probe_activations.tsv"
    resources:
        in_turn=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    message:
        "Probe the activations of {wildcards.model}"


rule probing_table:
    input:
        plan="results/{model}/plan.json",
        probes=inputs.of_arms("probing", "probes.csv", "interpreted_arms"),
        activations="results/{model}/evaluation/probing/activations.csv",
    output:
        probing="results/{model}/tables/probing.csv",
    log:
        "results/logs/{model}/probing_table.log",
    benchmark:
        "results/benchmarks/{model}/probing_table.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.probing.tabulate"),
        module="clustersae.probing.tabulate",
    message:
        "Summarise what few latents of {wildcards.model} tell"
    script:
        "../scripts/write_tables.py"


figures.add(
    "probing",
    "clustersae.probing.figure",
    "Features",
    tables={"table": "tables/probing.csv"},
    wanted=has_probes,
)
questions.add(
    "Probes",
    "clustersae.probing.text",
    ("probing",),
    wanted=has_probes,
)
