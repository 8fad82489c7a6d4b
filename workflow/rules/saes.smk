# One SAE per (variant, name, seed), whichever arms ask for it. The name of an SAE that starts from another says
# from which, `3@0-4` or `3~0-2`: it waits for that SAE alone. Where there are learning rates to choose from, other
# seeds wait for the first.


rule train_sae:
    input:
        # Which training shards there are, the statistics tell; with windows there are others.
        statistics=inputs.of_home("activations/statistics.safetensors"),
        later=streaming.later,
        passing=ancient(streaming.passing),
        gone=ancient(streaming.gone),
        text=streaming.text,
        before=streaming.before,
        start=inputs.start,
        validation=inputs.tuning_shards,
        tuned=inputs.tuned,
    output:
        sae="results/{model}/saes/{variant}/{sae}/seed-{seed}/sae.safetensors",
        config="results/{model}/saes/{variant}/{sae}/seed-{seed}/cfg.json",
        history="results/{model}/saes/{variant}/{sae}/seed-{seed}/history.csv",
        record="results/{model}/saes/{variant}/{sae}/seed-{seed}/training.json",
    log:
        "results/logs/{model}/train_sae/{variant}/{sae}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/{model}/train_sae/{variant}/{sae}/seed-{seed}.tsv"
    group:
        groups.of_trainings("train_sae")
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("train_sae", 4000),
        runtime=growing(240),
    params:
        code=params.code("train_sae.py"),
        sae=params.sae,
        windows=params.windows,
    message:
        "Train the SAE of layers {wildcards.sae} of {wildcards.model} ({wildcards.variant}, seed {wildcards.seed})"
    script:
        "../scripts/train_sae.py"


# Where shards of training tokens are not kept: the same through one window of them. The last is left to `train_sae`.
rule train_sae_window:
    input:
        statistics=inputs.of_home("activations/statistics.safetensors"),
        passing=ancient(streaming.passing),
        gone=ancient(streaming.gone),
        text=streaming.text,
        before=streaming.before,
        start=inputs.start,
    output:
        checkpoints=temp(
            directory(
                "results/{model}/saes/{variant}/{sae}/seed-{seed}/windows/{window}"
            )
        ),
        record="results/{model}/saes/{variant}/{sae}/seed-{seed}/windows/{window}.json",
    log:
        "results/logs/{model}/train_sae_window/{variant}/{sae}/seed-{seed}/{window}.log",
    benchmark:
        "results/benchmarks/{model}/train_sae_window/{variant}/{sae}/seed-{seed}/{window}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("train_sae_window", 4000),
        runtime=growing(240),
    params:
        code=params.code("train_sae_window.py"),
        # Checkpoints of other code are not gone on from, and `train_sae` takes over the last.
        training_code=params.code("train_sae.py"),
        sae=params.sae,
        windows=params.windows,
    message:
        "Train the SAE of layers {wildcards.sae} of {wildcards.model} ({wildcards.variant}, seed {wildcards.seed}) in window {wildcards.window}"
    script:
        "../scripts/train_sae_window.py"
