"""Stage f: SAEs for the layers of the character model that stage c has trained."""

import os

from clustersae.pretraining.inputs import FOLDER
from clustersae.runtime.errors import InputError
from gpu.characters import language_models
from gpu.measuring import compare
from gpu.stages import Job


def run(job: Job) -> None:
    """The first model of the preset.

    Raises:
        InputError: there is no language model yet.
    """
    os.chdir(job.work)
    trained = language_models(job)
    (name,) = trained
    record = job.work / FOLDER.format(model=name) / "model" / "training.json"
    if not record.is_file():
        raise InputError(f"{record} does not exist: run stage c first, with the same --work.")
    given = job.preset()
    first, section = next(iter(given["models"].items()))
    compare({**given, "models": {first: section}}, trained, job)
