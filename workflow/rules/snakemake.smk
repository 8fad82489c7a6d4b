# What Snakemake does and no setting of a workflow changes. Tests notice if another version differs.

import functools
import gc
from pathlib import Path

import snakemake.common
import snakemake.dag
import snakemake.io
import snakemake.jobs
import snakemake.rules
from snakemake.dag import DAG
from snakemake.io import _IOFile
from snakemake.persistence import PersistenceBase
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import RerunTrigger

from clustersae.runtime import written

# The digests see every change of the code. Snakemake's own trigger sees the time stamp of a
# script, so a checkout or a comment would train everything again. Only the command line turns it
# off.
type(workflow).rerun_triggers = property(
    lambda self: set(self.dag_settings.rerun_triggers) - {RerunTrigger.CODE}
)


def reevaluate_where_needed(scheduler, delay: float) -> None:
    """Look for jobs to start after `delay` seconds only where a limit has kept some back.

    With its limit of jobs per second (100 by default), Snakemake asks for another pass of the
    scheduler after every pass, and there is one more chain of them for every job that ends. Each
    looks up the sizes of all inputs of ready jobs: after 260 jobs, half a core was busy with it.
    """
    waiting = scheduler.workflow.dag.has_unfinished_queue_input_jobs()
    limit = scheduler.job_rate_limiter
    if waiting or limit is None or limit.get_free_jobs() == 0:
        scheduler.reevaluate(delay)


# Another version may have it mended, or under another name.
if hasattr(JobScheduler, "_schedule_reevalutation"):
    if not hasattr(JobScheduler, "reevaluate"):
        JobScheduler.reevaluate = JobScheduler._schedule_reevalutation
    JobScheduler._schedule_reevalutation = reevaluate_where_needed


# A file that looks newer than what was made from it is read, and if it holds the same, nothing is
# made again; but not one of more than 100 kB (`--max-checksum-file-size`). Of those that jobs have
# written, the records say what they hold: a wrong clock, or a file that was deleted and came out
# the same, then costs nothing.
async def is_known(file, threshold) -> bool:
    return await _IOFile.is_small(file, threshold) or bool(written.digest(Path(file)))


async def known_checksum(file, threshold=None, force=False, algorithm=None):
    if force or file.is_storage or await _IOFile.is_small(file, threshold):
        return await _IOFile.computed(file, threshold, force, algorithm)
    # Not by reading all of a large file after every job that has read it.
    known = written.digest(Path(file))
    return f"sha256:{known}" if known else None


if not hasattr(_IOFile, "is_small"):
    _IOFile.is_small, _IOFile.computed = (
        _IOFile.is_checksum_eligible,
        _IOFile.checksum,
    )
_IOFile.is_checksum_eligible, _IOFile.checksum = is_known, known_checksum


# Of a large plan, hundreds of thousands of objects stay: looking for rubbish among them
# took an eighth of the time.
gc.set_threshold(100_000, 50, 100)


def is_flagged(value, flag: str) -> bool:
    """Whether a file is temporary, ancient and so on.

    Snakemake first asks whether `value` is of an abstract class, for every input of every job and
    some twenty flags: a seventh of the time that it takes to plan a large study.
    """
    return bool(getattr(value, "flags", {}).get(flag))


for part in (snakemake.dag, snakemake.io, snakemake.jobs, snakemake.rules):
    part.is_flagged = is_flagged

# A function's parameters are looked up for every job that calls it: a twelfth of the time.
if not hasattr(snakemake.common.get_function_params, "cache_info"):
    snakemake.common.get_function_params = functools.cache(
        snakemake.common.get_function_params
    )
snakemake.rules.get_function_params = snakemake.common.get_function_params


async def update_once(
    dag, jobs, file=None, visited=None, known_producers=None, **others
):
    """Find which job makes a file once, and not for every job that reads it.

    Snakemake remembers files that no rule makes, and looks for all others each time they are read. It
    matches every rule and compares the file with all inputs of the job found. A study of 80 layers
    and five seeds reads 140,000 files, of which ten thousand are different.
    """
    producer = await dag.update_each_time(
        jobs, file=file, visited=visited, known_producers=known_producers, **others
    )
    if known_producers is not None and file is not None:
        known_producers[file] = [producer]
    return producer


if not hasattr(DAG, "update_each_time"):
    DAG.update_each_time = DAG.update
DAG.update = update_once


async def update_all_checkpoint_dependencies(dag, jobs=None) -> bool:
    """Tell readers of checkpoints also of those that, as it turns out, need not run again.

    A checkpoint may be planned since one before it runs, and be dropped when that has made the same
    file as before. Nobody then tells the jobs that wait for it what they read, and Snakemake starts
    them with `<TBD>` for files. Nor does it look, among jobs that a checkpoint brings, for those that
    were killed when their files were there and their records were not: they run again.
    """
    changed = updated = await dag.update_finished_checkpoint_dependencies(jobs)
    while updated:
        known = dag.workflow.checkpoints.created_output
        dropped = [
            job
            for job in dag.jobs
            if job.is_checkpoint
            and not dag.needrun(job)
            and not known.issuperset(job.output)
        ]
        there = [
            job for job in dropped if all(Path(file).exists() for file in job.output)
        ]
        updated = await dag.update_finished_checkpoint_dependencies(there)
    if changed and not dag.ignore_incomplete:
        incomplete = await dag.incomplete_files()
        if incomplete:
            dag.forcefiles.update(incomplete)
            await dag.postprocess_after_update()
    return changed


if not hasattr(DAG, "update_finished_checkpoint_dependencies"):
    DAG.update_finished_checkpoint_dependencies = DAG.update_checkpoint_dependencies
DAG.update_checkpoint_dependencies = update_all_checkpoint_dependencies


async def update_needrun_anew(dag, *arguments, **others):
    """Find the jobs to run without remembering why they were to run before.

    Else what waits for a job that was planned and then dropped would run all the same. What reads
    the output of a job that has run keeps its reason.
    """
    begun = {*dag._finished}
    for job in dag._running:
        begun.update(job if job.is_group() else [job])
    for job in dag.jobs:
        if job not in begun and begun.isdisjoint(dag.dependencies[job]):
            dag.reason(job).clear()
    return await dag.update_needrun_and_remember(*arguments, **others)


if not hasattr(DAG, "update_needrun_and_remember"):
    DAG.update_needrun_and_remember = DAG.update_needrun
    DAG.update_needrun = update_needrun_anew


def as_if_absent(dag) -> list:
    """Take out the edges to jobs from those that make nothing but what they call ancient."""
    taken = [
        (readers, job, files)
        for readers in dag.depending.values()
        for job, files in readers.items()
        if files and all(file.is_ancient for file in files)
    ]
    for readers, job, _ in taken:
        del readers[job]
    return taken


async def update_needrun_in_order(dag, *arguments, **others):
    """Find the jobs to run as if ancient inputs were in order only: made before, and no reason to run.

    Snakemake takes an ancient input that is absent and will be made for a reason. So one more SAE,
    for which shards are made again that do not stay, would train all others anew; and a job that
    waits for shards with others would hide what those have to do for reasons of their own.
    """
    taken = as_if_absent(dag)
    try:
        return await dag.update_needrun_by_files(*arguments, **others)
    finally:
        for readers, job, files in taken:
            readers[job] = files


def inputs_but_ancient(persistence, job) -> list[str]:
    """What is recorded of a job's inputs, without those that are in order only."""
    ancient = {str(file) for file in job.input if file.is_ancient}
    return [file for file in persistence.all_inputs(job) if str(file) not in ancient]


if not hasattr(DAG, "update_needrun_by_files"):
    DAG.update_needrun_by_files = DAG.update_needrun
    PersistenceBase.all_inputs = PersistenceBase._input
DAG.update_needrun = update_needrun_in_order
PersistenceBase._input = inputs_but_ancient
