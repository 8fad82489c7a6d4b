# Shared by all rules: the checked configuration; `inputs` and `params`, whose methods rules name, as
# those of `streaming` for training shards, `requested` for what is asked for beside and `memory` for
# what jobs need; `groups` for clusters; `figures` and `questions`, to which the rule file of a question adds its own.

import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
# Before an installed copy of the library; jobs get the same by their environment.
sys.path.insert(0, str(SCRIPTS))

from clustersae.cost.declared import Memory, memory_of_import
from clustersae.experiment import clusters, variants
from clustersae.experiment import config as configuration
from clustersae.experiment.arms import PARTITION_PATTERN
from clustersae.experiment.figures import Figures
from clustersae.experiment.groups import Groups
from clustersae.experiment.inputs import SAE_FOLDER, Inputs
from clustersae.experiment.page import Page
from clustersae.experiment.params import (
    Params,
    growing,
    has_clusters,
    has_probes,
    has_tasks,
    is_specialised,
    jobs_at_once,
)
from clustersae.experiment.places import check_duplicates, placed
from clustersae.experiment.streaming import Streaming
from clustersae.experiment.questions import Questions
from clustersae.experiment.requested import CIRCUITS_FOLDER, RESIDUAL_BASIS, Requested
from clustersae.runtime import environment
from clustersae.runtime.errors import InputError

environment.prepare(SCRIPTS)

if "{" in str(workflow.basedir):
    raise WorkflowError(
        f"Snakemake takes braces in the path of a workflow for its own: rename {workflow.basedir}."
    )

try:
    check_duplicates(workflow.configfiles)
    MODELS = configuration.load(
        config,
        SCRIPTS.parent / "schemas" / "config.schema.yaml",
        trained=language_models.KNOWN if TRAINED_HERE else {},
        folders=[Path(file).parent for file in workflow.configfiles],
        command_line=workflow.config_settings.config,
    )
except InputError as error:
    raise WorkflowError(
        placed(str(error), workflow.configfiles, workflow.config_settings.config)
    ) from None

inputs = Inputs(MODELS, checkpoints)
streaming = Streaming(inputs)
requested = Requested(inputs)
params = Params(MODELS, SCRIPTS)
memory = Memory(inputs)
groups = Groups(
    inputs,
    lambda: workflow.group_settings.group_components,
    workflow.parent_groupids,
)
figures = Figures(SCRIPTS, captions=SCRIPTS.parent / "report")
questions = Questions(MODELS, SCRIPTS)


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    split="train|validation|test",
    shard=r"\d+",
    window=r"\d+",
    variant=variants.PATTERN,
    sae=clusters.SAE_PATTERN,
    partition=PARTITION_PATTERN,
    seed=r"\d+",
    task=r"\w[\w.-]*",


def print_verdicts() -> None:
    """The answer, on the command line at the end of a run, and how the models were trained."""
    for record in map(Path, language_models.inputs.texts if TRAINED_HERE else []):
        if record.is_file():
            print(f"\n{record.read_text(encoding='utf-8')}")
    for model in MODELS:
        verdict = Path("results", model, "tables", "verdict.txt")
        if verdict.is_file():
            print(f"\n{model}\n{verdict.read_text(encoding='utf-8')}")
        page = Path("results", model, "report.html")
        if page.is_file():
            print(
                f"Figures, tables, settings and cost, to be opened in a browser: {page}"
            )
