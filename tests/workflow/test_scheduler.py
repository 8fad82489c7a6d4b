"""What is changed in Snakemake's scheduler, in the version that is installed."""

import os
import re
import subprocess
import sys

from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake_project import REPOSITORY

N_JOBS = 10
SNAKEFILE = """
from snakemake.scheduling.job_scheduler import JobScheduler

{included}

passes = []
select = JobScheduler.job_selector

def counted(self, jobs):
    passes.append(len(jobs))
    return select(self, jobs)

JobScheduler.job_selector = counted

rule all:
    input:
        expand("{{n}}.txt", n=range({n_jobs}))

rule wait:
    output:
        "{{n}}.txt"
    shell:
        "sleep 0.5; touch {{output}}"

onsuccess:
    print(len(passes), "passes")
"""


def passes(folder, included):
    """How often the scheduler looked for jobs to start, in a run of one job after another."""
    folder.mkdir()
    text = SNAKEFILE.format(included=included, n_jobs=N_JOBS)
    (folder / "Snakefile").write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return int(re.search(r"(\d+) passes", result.stdout)[1])


def test_the_scheduler_looks_for_jobs_when_one_has_ended_and_not_all_the_time(tmp_path):
    assert hasattr(JobScheduler, "_schedule_reevalutation"), "adapt workflow/rules/snakemake.smk"
    rules = REPOSITORY / "workflow" / "rules" / "snakemake.smk"
    as_it_is = passes(tmp_path / "as-it-is", "")
    changed = passes(tmp_path / "changed", f'include: "{rules}"')
    assert changed <= 2 * N_JOBS < as_it_is
