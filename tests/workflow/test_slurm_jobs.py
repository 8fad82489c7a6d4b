"""How many jobs of a study of twelve layers reach SLURM: short ones share one."""

import json
from collections import Counter

import numpy as np
import pytest
import yaml
from fabricated_study import fabricate
from snakemake_project import REPOSITORY, jobs

PROFILE = "workflow/profiles/slurm"
N_LAYERS = 12
#: What comes before the plan, most of which GPU jobs wait for: it has ended in the study.
BEFORE = 12
#: Appended to the Snakefile: what would be submitted is written down.
COUNTING = """

import json

from snakemake.scheduling.job_scheduler import JobScheduler

run = JobScheduler.run

def written(self, jobs, executor=None):
    with open("submitted.jsonl", "a") as file:
        for job in jobs:
            if job.is_group() or job.rule.name not in self.workflow._localrules:
                rules = [each.rule.name for each in job] if job.is_group() else [job.rule.name]
                asked = {key: job.resources[key] for key in ("gpu", "mem_mb", "runtime", "_cores")
                         if key in job.resources.keys()}
                print(json.dumps({"rules": rules, **asked}), file=file)
    run(self, jobs, executor)

JobScheduler.run = written
"""


@pytest.fixture
def study(fresh):
    """Twelve layers, compared as the preset of SmolLM2 compares ten; its plan has been made."""
    preset = yaml.safe_load((REPOSITORY / "workflow/presets/smollm2.yaml").read_text())
    fresh.configure(
        language_models={"tiny": {"architecture": {"n_layers": N_LAYERS}}},
        arms=preset["arms"],
        sae={"seeds": preset["sae"]["seeds"], "learning_rate": [0.001, 0.003]},
    )
    places = np.arange(N_LAYERS)
    fabricate(fresh, np.abs(places[:, None] - places) / N_LAYERS)
    with open(fresh.folder / "Snakefile", "a") as file:
        file.write(COUNTING)
    return fresh


def submitted(project):
    """Of each SLURM job: its rules and what it asks for; and how many jobs each rule has."""
    result = project.snakemake("-n", "--profile", PROFILE)
    assert result.returncode == 0, result.stdout
    lines = (project.folder / "submitted.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], jobs(result.stdout)


def test_a_study_of_twelve_layers_submits_at_most_150_jobs(study):
    found, planned = submitted(study)
    assert len(found) + BEFORE <= 150
    rules = Counter(rule for job in found for rule in job["rules"])
    assert sum(planned.values()) > 450
    assert {rule: planned[rule] for rule in rules} == rules  # each once, none forgotten
    trainings = [job for job in found if "train_sae" in job["rules"]]
    assert {rule for job in trainings for rule in job["rules"]} == {"train_sae"}
    assert max(len(job["rules"]) for job in trainings) == 6
    for job in trainings:  # one after another: the time of all, the memory and the GPU of one
        assert (job["gpu"], job["mem_mb"], job["_cores"]) == (1, 4000, 1)
        assert job["runtime"] == 240 * len(job["rules"])


def test_without_the_profile_nothing_is_grouped(study):
    result = study.snakemake("-n")
    assert result.returncode == 0, result.stdout
    assert "Group job" not in result.stdout
