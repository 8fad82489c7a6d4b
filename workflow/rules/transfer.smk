# Whether layers that look alike can share an SAE: what the SAE of one layer loses on another,
# beside every distance. The shortest per-layer SAEs are read, as pilots would be.


rule evaluate_transfer:
    input:
        saes=inputs.of_saes(f"{SAE_FOLDER}/sae.safetensors", "shortest_saes"),
        validation=inputs.shards("validation"),
    output:
        "results/{model}/evaluation/transfer.csv",
    log:
        "results/logs/{model}/evaluate_transfer.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_transfer.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("evaluate_transfer", 6000),
        runtime=growing(240),
    params:
        code=params.code("evaluate_transfer.py"),
        n_tokens=params.section("evaluation", "correspondence_tokens"),
    message:
        "Read the SAE of every layer of {wildcards.model} on every other layer"
    script:
        "../scripts/evaluate_transfer.py"


rule transfer_tables:
    input:
        transfer="results/{model}/evaluation/transfer.csv",
        distances="results/{model}/clusters/distances.csv",
    output:
        pairs="results/{model}/tables/transfer.csv",
        similarity="results/{model}/tables/similarity.csv",
        partitions="results/{model}/tables/transfer_partitions.csv",
    log:
        "results/logs/{model}/transfer_tables.log",
    benchmark:
        "results/benchmarks/{model}/transfer_tables.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.transfer.tabulate"),
        module="clustersae.transfer.tabulate",
    message:
        "Compare the distances of {wildcards.model} with what SAEs lose between layers"
    script:
        "../scripts/write_tables.py"


figures.add(
    "similarity",
    "clustersae.transfer.figure",
    "Layers and clusters",
    tables={
        "pairs": "tables/transfer.csv",
        "similarity": "tables/similarity.csv",
        "partitions": "tables/transfer_partitions.csv",
    },
    wanted=has_clusters,
)
questions.add(
    "Does similarity predict sharing?",
    "clustersae.transfer.text",
    ("similarity", "transfer_partitions"),
    wanted=has_clusters,
)
