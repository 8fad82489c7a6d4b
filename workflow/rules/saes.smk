# One SAE per (variant, cluster, seed), whichever partitions ask for it.


rule train_sae:
    input:
        shards=shards("train"),
        statistics="results/{model}/activations/statistics.safetensors",
    output:
        sae="results/{model}/saes/{variant}/{cluster}/seed-{seed}/sae.safetensors",
        config="results/{model}/saes/{variant}/{cluster}/seed-{seed}/cfg.json",
        history="results/{model}/saes/{variant}/{cluster}/seed-{seed}/history.csv",
        record="results/{model}/saes/{variant}/{cluster}/seed-{seed}/training.json",
    log:
        "results/logs/{model}/train_sae/{variant}/{cluster}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/{model}/train_sae/{variant}/{cluster}/seed-{seed}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        code=code("train_sae.py"),
        sae=section("sae", without=("seeds",)),
    message:
        "Train the SAE of layers {wildcards.cluster} of {wildcards.model} ({wildcards.variant}, seed {wildcards.seed})"
    script:
        "../scripts/train_sae.py"
