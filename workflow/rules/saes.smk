# One SAE per (variant, name, seed), whichever arms ask for it. The name of a specialised SAE says what
# it starts from, `3@0-4`: it waits for that SAE alone. Where there are learning rates to choose from, other seeds wait for the first.


rule train_sae:
    input:
        shards=shards("train"),
        statistics="results/{model}/activations/statistics.safetensors",
        start=start,
        validation=tuning_shards,
        tuned=tuned,
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
        sae=sae_settings,
    message:
        "Train the SAE of layers {wildcards.cluster} of {wildcards.model} ({wildcards.variant}, seed {wildcards.seed})"
    script:
        "../scripts/train_sae.py"
