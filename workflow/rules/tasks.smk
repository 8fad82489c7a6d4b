# From the tasks of a configuration to the files of those that the model can do.

import json

from clustersae.experiment.tasks import is_file, task_name


def tasks_of(wildcards) -> dict[str, str]:
    """What each task of the wildcard's model is called in results → as the configuration has it."""
    tasks = MODELS[wildcards.model]["evaluation"]["tasks"]
    return {task_name(task): task for task in tasks}


def task_file(wildcards) -> list[str]:
    """The file of prompts of a user's task: an input, so that editing it re-runs what reads it."""
    task = tasks_of(wildcards)[wildcards.task]
    return [task] if is_file(task) else []


def task_records(wildcards) -> list[str]:
    """What became of every task."""
    return [
        f"results/{wildcards.model}/tasks/{task}/task.json"
        for task in tasks_of(wildcards)
    ]


def usable_tasks(wildcards) -> list[str]:
    """The tasks that the model can do, once it has tried them: others get no circuits."""
    usable = []
    for task in tasks_of(wildcards):
        record = checkpoints.assess_task.get(
            model=wildcards.model, task=task
        ).output.task
        with record.open() as file:
            if json.load(file)["usable"]:
                usable.append(task)
    return usable


#: Of one arm and task.
CIRCUITS = "results/{model}/evaluation/circuits/{task}/{variant}/{partition}"
#: The control without SAEs, in the place of a partition.
RESIDUAL_BASIS = "residual-basis"
WITHOUT_SAES = f"results/{{model}}/evaluation/circuits/{{task}}/base/{RESIDUAL_BASIS}"


def circuit_files(kind: str):
    """An input function: a file of every arm and usable task, the control without SAEs included."""

    def files(wildcards) -> list[str]:
        arms_asked = [*planned(plan.spliced_arms, wildcards), ("base", RESIDUAL_BASIS)]
        return [
            f"{CIRCUITS}/{kind}".format(
                model=wildcards.model, task=task, variant=variant, partition=partition
            )
            for task in usable_tasks(wildcards)
            for variant, partition in arms_asked
        ]

    return files


def tables_of_circuits(wildcards) -> list[str]:
    """The tables about circuits, where tasks are asked for: what the verdict says of them."""
    if not tasks_of(wildcards):
        return []
    return [
        f"results/{wildcards.model}/tables/{name}.csv" for name in ("tasks", "circuits")
    ]
