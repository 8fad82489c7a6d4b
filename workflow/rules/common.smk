# Shared by all rules: the checked configuration, digests of the code, params and resources.

import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Threads of one job that wait for each other by spinning starve the other jobs of a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.append(str(SCRIPTS))

from clustersae.experiment import arms, clusters, digest, plan, variants
from clustersae.experiment import config as configuration
from clustersae.corpora import named
from clustersae.runtime.errors import InputError

from clustersae.experiment.sae_settings import count_steps, learning_rates

try:
    SCHEMA = SCRIPTS.parent / "schemas" / "config.schema.yaml"
    MODELS = configuration.load(config, SCHEMA)
    REPORT = configuration.report_settings(config, SCHEMA)
except InputError as error:
    raise WorkflowError(str(error)) from None


def models_where(condition) -> str:
    """A pattern for the names of models that meet a condition; one that never matches if none."""
    names = [name for name, model in MODELS.items() if condition(model)]
    return "|".join(map(re.escape, names)) or "(?!)"


#: `per-layer`, `complete-3`, `complete-tree`; with @ between them in specialised arms.
PARTITION = r"[a-z][a-z-]*(?:-\d+)?"


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    split="train|validation|test",
    shard=r"\d+",
    variant=variants.PATTERN,
    cluster=clusters.SAE_PATTERN,
    partition=rf"{PARTITION}(?:@{PARTITION})*",
    seed=r"\d+",
    task=r"\w[\w.-]*",


def code(script: str) -> str:
    """Digest of a script and of all the library code it reaches: a param of every rule."""
    return digest.script_digest(script, SCRIPTS)


def section(*keys: str, without: tuple[str, ...] = ()):
    """A params function: the settings of the wildcard's model at `keys`, as plain values."""

    def settings(wildcards):
        value = MODELS[wildcards.model]
        for key in keys:
            value = value[key]
        if isinstance(value, dict):
            return {key: each for key, each in value.items() if key not in without}
        return value

    return settings


def first_of(*keys: str):
    """A params function: the first entry of the list at `keys`."""
    return lambda wildcards: section(*keys)(wildcards)[0]


def growing(amount: int):
    """A resource that doubles with every attempt, for jobs that ran out of it."""

    def resource(wildcards, attempt: int) -> int:
        return amount * 2 ** (attempt - 1)

    return resource


def print_verdicts() -> None:
    """The answer, on the command line at the end of a run, and how the models were trained."""
    for model, settings in MODELS.items():
        record = Path("results", model, "tables", "seeds.txt")
        if settings["training"]["record"] and record.is_file():
            print(f"\n{record.read_text(encoding='utf-8')}")
        verdict = Path("results", model, "tables", "verdict.txt")
        if verdict.is_file():
            print(f"\n{model}\n{verdict.read_text(encoding='utf-8')}")
