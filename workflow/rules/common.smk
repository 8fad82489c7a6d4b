# Shared by all rules: the checked configuration; `inputs` and `params`, whose methods rules name.

import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Threads of one job that wait for each other by spinning starve the other jobs of a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# Before an installed copy of the library: what runs is what the digests are taken of. Jobs get the
# same by their environment.
sys.path.insert(0, str(SCRIPTS))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")])
)

from clustersae.experiment import clusters, variants
from clustersae.experiment import config as configuration
from clustersae.experiment.arms import PARTITION_PATTERN
from clustersae.experiment.figures import Figure, Figures
from clustersae.experiment.inputs import CIRCUITS_FOLDER, RESIDUAL_BASIS, Inputs
from clustersae.experiment.params import Params, growing
from clustersae.runtime.errors import InputError

try:
    MODELS = configuration.load(
        config, SCRIPTS.parent / "schemas" / "config.schema.yaml"
    )
except InputError as error:
    raise WorkflowError(str(error)) from None

inputs = Inputs(MODELS, checkpoints)
params = Params(MODELS, SCRIPTS)
figures = Figures(SCRIPTS, captions=SCRIPTS.parent / "report")


def models_where(condition) -> str:
    """A pattern for the names of models that meet a condition; one that never matches if none."""
    names = [name for name, model in MODELS.items() if condition(model)]
    return "|".join(map(re.escape, names)) or "(?!)"


def are_specialised(settings) -> bool:
    """Whether a model has specialised SAEs, or may get them by `auto`."""
    return bool(
        settings["arms"]["specialised"] or "specialised" in settings["arms"]["auto"]
    )


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    split="train|validation|test",
    shard=r"\d+",
    variant=variants.PATTERN,
    sae=clusters.SAE_PATTERN,
    partition=PARTITION_PATTERN,
    seed=r"\d+",
    task=r"\w[\w.-]*",


def print_verdicts() -> None:
    """The answer, on the command line at the end of a run."""
    for model in MODELS:
        verdict = Path("results", model, "tables", "verdict.txt")
        if verdict.is_file():
            print(f"\n{model}\n{verdict.read_text(encoding='utf-8')}")
