# Tasks, and how much of the model's doing them is carried by circuits of latents. The model alone is
# recorded once per task; every arm and task is one job.

#: What figures and verdict are about; null in the configuration begins with these for any model.
ERRORS = params.first_of("evaluation", "circuits", "errors", otherwise="ablated")
ABLATION = params.first_of("evaluation", "circuits", "ablations", otherwise="mean")


checkpoint assess_task:
    input:
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        tokenizer=inputs.of_home("model/tokenizer.json"),
        limits=inputs.of_home("activations/norms.safetensors"),
        # What it contains stands in a param: its time stamps say nothing.
        prompts=ancient(requested.task_file),
    output:
        task="results/{model}/tasks/{task}/task.json",
        pairs="results/{model}/tasks/{task}/pairs.jsonl",
        recordings="results/{model}/tasks/{task}/recordings.safetensors",
    log:
        "results/logs/{model}/assess_task/{task}.log",
    benchmark:
        "results/benchmarks/{model}/assess_task/{task}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=memory.of("assess_task", 4000),
        runtime=growing(60),
    params:
        code=params.code("assess_task.py"),
        task=lambda wildcards: requested.tasks(wildcards)[wildcards.task],
        contents=requested.task_contents,
        settings=params.section(
            "evaluation",
            "circuits",
            without=("sizes", "max_nodes", "errors", "ablations", "exact_nodes"),
        ),
        ablation=ABLATION,
    message:
        "Let {wildcards.model} try the task {wildcards.task}"
    script:
        "../scripts/assess_task.py"


#: The control without SAEs, in the place of a partition.
WITHOUT_SAES = CIRCUITS_FOLDER.replace(
    "{variant}/{partition}", f"base/{RESIDUAL_BASIS}"
)
#: What finds circuits and measures them, once a task has been recorded.
SEARCH = params.section(
    "evaluation",
    "circuits",
    without=("pairs", "method", "min_pairs", "min_accuracy", "min_gap"),
)


rule evaluate_circuits:
    input:
        saes=inputs.of_arm("sae.safetensors"),
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        recordings="results/{model}/tasks/{task}/recordings.safetensors",
    output:
        curves=f"{CIRCUITS_FOLDER}/curves.csv",
        prompts=f"{CIRCUITS_FOLDER}/prompts.csv",
        nodes=f"{CIRCUITS_FOLDER}/nodes.csv",
    log:
        "results/logs/{model}/evaluate_circuits/{task}/{variant}/{partition}.log",
    benchmark:
        "results/benchmarks/{model}/evaluate_circuits/{task}/{variant}/{partition}.tsv"
    wildcard_constraints:
        partition=rf"(?!{RESIDUAL_BASIS}){PARTITION_PATTERN}",
    group:
        groups.of_arms("evaluate_circuits")
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
        in_turn=1,
        mem_mb=memory.of("evaluate_circuits", 4000),
        runtime=growing(120),
    params:
        code=params.code("evaluate_circuits.py"),
        variant=lambda wildcards: wildcards.variant,
        partition=lambda wildcards: wildcards.partition,
        settings=SEARCH,
    message:
        "Find circuits of {wildcards.model} for {wildcards.task}: {wildcards.partition} ({wildcards.variant})"
    script:
        "../scripts/evaluate_circuits.py"


use rule evaluate_circuits as evaluate_residual_basis with:
    input:
        saes=[],
        weights=inputs.of_home("model/model.safetensors"),
        description=inputs.of_home("model/description.json"),
        recordings="results/{model}/tasks/{task}/recordings.safetensors",
    output:
        curves=f"{WITHOUT_SAES}/curves.csv",
        prompts=f"{WITHOUT_SAES}/prompts.csv",
        nodes=f"{WITHOUT_SAES}/nodes.csv",
    log:
        f"results/logs/{{model}}/evaluate_circuits/{{task}}/base/{RESIDUAL_BASIS}.log",
    benchmark:
        f"results/benchmarks/{{model}}/evaluate_circuits/{{task}}/base/{RESIDUAL_BASIS}.tsv"
    params:
        code=params.code("evaluate_circuits.py"),
        variant="base",
        partition=RESIDUAL_BASIS,
        settings=SEARCH,
    message:
        "Find circuits of {wildcards.model} for {wildcards.task} without SAEs"


rule circuit_tables:
    input:
        plan="results/{model}/plan.json",
        tasks=requested.task_records,
        curves=requested.of_circuits("curves.csv"),
        prompts=requested.of_circuits("prompts.csv"),
        nodes=requested.of_circuits("nodes.csv"),
    output:
        tasks="results/{model}/tables/tasks.csv",
        circuits="results/{model}/tables/circuits.csv",
        circuit_curves="results/{model}/tables/circuit_curves.csv",
        distance="results/{model}/tables/circuit_distance.csv",
    log:
        "results/logs/{model}/circuit_tables.log",
    benchmark:
        "results/benchmarks/{model}/circuit_tables.tsv"
    localrule: True
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=params.code("write_tables.py", "clustersae.circuits.tabulate"),
        module="clustersae.circuits.tabulate",
        margin=params.section("arms", "margins", "faithfulness"),
        errors=ERRORS,
        ablation=ABLATION,
        min_gap=params.section("evaluation", "circuits", "min_gap"),
    message:
        "Summarise the circuits of {wildcards.model}"
    script:
        "../scripts/write_tables.py"


figures.add(
    "circuits",
    "clustersae.circuits.figure_areas",
    "Circuits",
    tables={"circuits": "tables/circuits.csv", "tasks": "tables/tasks.csv"},
    options={
        "errors": ERRORS,
        "ablation": ABLATION,
    },
    wanted=has_tasks,
)
figures.add(
    "circuit_curves",
    "clustersae.circuits.figure_curves",
    "Circuits",
    tables={
        "curves": "tables/circuit_curves.csv",
        "circuits": "tables/circuits.csv",
        "tasks": "tables/tasks.csv",
    },
    options={"ablation": ABLATION},
    wanted=has_tasks,
)
questions.add(
    "Circuits",
    "clustersae.circuits.text",
    ("tasks", "circuits"),
    options={"errors": ERRORS, "ablation": ABLATION},
    beside="circuit_distance",
    wanted=has_tasks,
)
