"""Which files a configuration asks for beside what every experiment has: functions of wildcards.

Tasks and their circuits, a judge of latents, exports, the feature browser, trackers.
"""

from clustersae.experiment.contents import contents_digest
from clustersae.experiment.inputs import MODEL, InputFunction, Inputs, Wildcards
from clustersae.experiment.paths import watched
from clustersae.experiment.tasks import is_file, task_name
from clustersae.experiment.variants import BASE
from clustersae.runtime.files import read_json

#: Folder of an arm's circuits.
CIRCUITS_FOLDER = f"{MODEL}/evaluation/circuits/{{task}}/{{variant}}/{{partition}}"
#: The control without SAEs, in the place of a partition.
RESIDUAL_BASIS = "residual-basis"


class Requested:
    """The input functions of what is asked for.

    Args:
        inputs: of the same experiment, which know the plan. Of their checkpoints, `assess_task` is
            asked for.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def tasks(self, wildcards: Wildcards) -> dict[str, str]:
        """What each task of the wildcard's model is called in results → as the config has it."""
        tasks = self.inputs.models[wildcards.model]["evaluation"]["tasks"]
        return {task_name(task): task for task in tasks}

    def task_file(self, wildcards: Wildcards) -> list[str]:
        """The file of a user's task; nothing for others."""
        return watched(self._task_file(wildcards))

    def task_contents(self, wildcards: Wildcards) -> str | None:
        """Digest of that file: a param, so that what reads it runs again when it was edited."""
        return contents_digest(self._task_file(wildcards))

    def _task_file(self, wildcards: Wildcards) -> list[str]:
        task = self.tasks(wildcards)[wildcards.task]
        return [task] if is_file(task) else []

    def task_records(self, wildcards: Wildcards) -> list[str]:
        """What became of every task."""
        return [
            f"results/{wildcards.model}/tasks/{task}/task.json" for task in self.tasks(wildcards)
        ]

    def usable_tasks(self, wildcards: Wildcards) -> list[str]:
        """The tasks that the model can do, once it has tried them: others get no circuits."""
        assess = self.inputs.checkpoints.assess_task
        records = {
            task: assess.get(model=wildcards.model, task=task).output.task
            for task in self.tasks(wildcards)
        }
        return [task for task, record in records.items() if read_json(record)["usable"]]

    def of_circuits(self, file: str) -> InputFunction:
        """A file of every arm and usable task, the control without SAEs included."""

        def files(wildcards: Wildcards) -> list[str]:
            arms = [*self.inputs.plan(wildcards).interpreted_arms, (BASE, RESIDUAL_BASIS)]
            return [
                f"{CIRCUITS_FOLDER}/{file}".format(
                    model=wildcards.model, task=task, variant=variant, partition=partition
                )
                for task in self.usable_tasks(wildcards)
                for variant, partition in arms
            ]

        return files

    def exports(self, _wildcards: Wildcards) -> list[str]:
        """The index of every export that is asked for, of all models."""
        return [
            f"results/{model}/exports/{format}/index.json"
            for model, settings in self.inputs.models.items()
            for format in settings["exports"]["formats"]
        ]

    def browsers(self, _wildcards: Wildcards) -> list[str]:
        """The page of every model that a feature browser is asked for, and its other format."""
        found = []
        for model, settings in self.inputs.models.items():
            browser = settings["browser"]
            if browser["arms"]:
                found.append(f"results/{model}/browser/index.html")
            if browser["arms"] and browser["neuronpedia"]:
                found.append(f"results/{model}/neuronpedia/index.json")
        return found

    def tracked(self, _wildcards: Wildcards) -> list[str]:
        """What the trackers that are asked for get of every SAE's training, of all models."""
        folders = []
        for model, settings in self.inputs.models.items():
            tracker = settings["exports"]["tracking"]
            if tracker != "none":
                plan = self.inputs.plan_of(model)
                folders += [
                    f"results/{model}/tracking/{tracker}/{variant}/{sae}/seed-{seed}"
                    for variant, sae in plan.trained_saes
                    for seed in settings["sae"]["seeds"]
                ]
        return folders

    def judge(self, wildcards: Wildcards) -> list[str]:
        """What a judge says of every arm's latents, where the configuration names one."""
        if not self.inputs.models[wildcards.model]["evaluation"]["judge"]["base_url"]:
            return []
        return self.inputs.of_arms("judge", "scores.csv", "interpreted_arms")(wildcards)
