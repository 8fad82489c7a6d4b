# Whether the latents of specialised SAEs correspond across layers, beside those of SAEs that were
# trained from scratch. SAEs from scratch are the same for all arms, and so are compared once.


rule evaluate_correspondence:
    input:
        saes=inputs.of_arm("sae.safetensors", with_roots=True),
        test=inputs.shards("test"),
    output:
        "results/{model}/evaluation/correspondence/{variant}/{partition}/correspondence.csv",
    log:
        "results/logs/{model}/evaluate_correspondence/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_correspondence/{variant}/{partition}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("evaluate_correspondence", 6000),
        runtime=growing(240),
    params:
        code=params.code("evaluate_correspondence.py"),
        n_tokens=params.section("evaluation", "correspondence_tokens"),
        seed=params.section("evaluation", "seed"),
    message:
        "Compare the latents of the SAEs of {wildcards.model}: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/evaluate_correspondence.py"


rule correspondence_table:
    input:
        plan="results/{model}/plan.json",
        correspondence=inputs.of_arms(
            "correspondence", "correspondence.csv", "corresponding_arms"
        ),
    output:
        correspondence="results/{model}/tables/correspondence.csv",
    log:
        "results/logs/{model}/correspondence_table.log",
    benchmark:
        "results/benchmarks/{model}/correspondence_table.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.correspondence.tabulate"),
        module="clustersae.correspondence.tabulate",
    message:
        "Summarise how the latents of {wildcards.model} correspond"
    script:
        "../scripts/write_tables.py"


figures.add(
    "correspondence",
    "clustersae.correspondence.figure",
    "Specialised SAEs",
    tables={"table": "tables/correspondence.csv"},
    wanted=is_specialised,
)
