"""The profile of SLURM on a real cluster, of one node: Debian's packages on this machine."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import one_node_slurm
import pytest
from filelock import FileLock
from safetensors.numpy import load_file
from snakemake_project import TINY, Project, jobs

PROFILE = "workflow/profiles/slurm"
#: The activations of a model that is trained first: five jobs, three of which want a GPU.
TARGET = "results/tiny/activations/train/shard-0.safetensors"
#: Rule → whether it wants a GPU, megabytes, minutes.
ASKED = {
    "build_corpus": (False, 4000, 60),
    "train_model": (True, 4000, 120),
    "import_model": (False, 8000, 120),
    "measure_norms": (True, 4000, 60),
    "cache_activations": (True, 4000, 60),
}
#: Without accounting, and asked for more often than on a cluster.
OPTIONS = ("--slurm-no-account", "--slurm-status-command", "squeue")
SOONER = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5", "--retries", "0")
#: In place of `device.choose_all`: writes down which GPU a job was shown.
CHOOSE = """

_choose_all = choose_all


def choose_all(gpus=0):
    import os
    import sys

    if gpus:
        with open("shown.txt", "a") as file:  # tmpabc.train_sae.py
            print(sys.argv[0].split(".")[-2], os.environ["CUDA_VISIBLE_DEVICES"], file=file)
    return _choose_all(gpus)
"""
REASON = one_node_slurm.missing()

pytestmark = [pytest.mark.long, pytest.mark.skipif(REASON is not None, reason=str(REASON))]


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """The project after its run on the cluster, and the cluster's jobs by rule."""
    folder = tmp_path_factory.mktemp("slurm")
    project = Project.create(folder / "project", TINY)
    device = project.folder / "workflow/scripts/clustersae/runtime/device.py"
    device.write_text(device.read_text() + CHOOSE)
    cluster = one_node_slurm.Slurm(folder / "cluster", cpus=os.cpu_count() or 1)
    # There is one default place for its configuration: workers of pytest-xdist take turns.
    with FileLock(one_node_slurm.LOCK), cluster as slurm:
        result = project.snakemake("--profile", PROFILE, *OPTIONS, *SOONER, "--", TARGET)
        submitted = slurm.jobs()
    assert result.returncode == 0, result.stdout
    comments = {
        job["Comment"].split("_wildcards_")[0].removeprefix("rule_"): job for job in submitted
    }
    assert len(comments) == len(submitted)
    return project, comments


def test_memory_time_and_gpus_arrive(submitted):
    _, jobs = submitted
    assert jobs.keys() == ASKED.keys()
    for rule, (gpu, megabytes, minutes) in ASKED.items():
        job = jobs[rule]
        assert job["JobState"] == "COMPLETED", rule
        assert f"mem={megabytes}M" in job["TRES"].split(","), rule
        assert job["TimeLimit"] == f"{minutes // 60:02}:{minutes % 60:02}:00", rule
        assert job.get("TresPerJob") == ("gres:gpu:1" if gpu else None), rule


def test_jobs_that_want_a_gpu_are_shown_it(submitted):
    project, _ = submitted
    shown = dict(line.split() for line in (project.folder / "shown.txt").read_text().splitlines())
    wanting = {rule for rule, (gpu, *_) in ASKED.items() if gpu}
    assert shown == dict.fromkeys(wanting, "0")


def test_results_are_those_of_one_machine_to_the_bit(submitted, fresh):
    project, _ = submitted
    fresh.run(TARGET)
    found, expected = (load_file(each.folder / TARGET) for each in (project, fresh))
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


def scancel(cluster, job):
    cluster.command("scancel", job)


def reach_the_time_limit(cluster, job):
    """A job that does nothing any more has a minute left."""
    cluster.command("scancel", "--full", "--signal=STOP", job)
    cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=1")


def lose_the_node(cluster, job):
    """SLURM gives the job to the next node that it has."""
    cluster.command("scontrol", "update", f"NodeName={cluster.node}", "State=DOWN", "Reason=lost")
    cluster.wait(lambda: job not in running(cluster), "the job to be given up")
    cluster.command("scontrol", "update", f"NodeName={cluster.node}", "State=RESUME")


def drain_the_node(cluster, job):
    """What runs there ends well; what follows waits until the node is back."""
    cluster.command("scontrol", "update", f"NodeName={cluster.node}", "State=DRAIN", "Reason=away")
    cluster.wait(lambda: job not in running(cluster), "the job to end", seconds=200)
    cluster.command("scontrol", "update", f"NodeName={cluster.node}", "State=RESUME")


def running(cluster, rule=""):
    """Numbers of the jobs that run."""
    return [
        job["JobId"]
        for job in cluster.jobs()
        if job["Comment"].startswith(f"rule_{rule}") and job["JobState"] == "RUNNING"
    ]


@pytest.mark.parametrize(
    ("hurt", "ends"),
    [
        (scancel, True),
        (reach_the_time_limit, True),
        (lose_the_node, False),
        (drain_the_node, False),
    ],
)
def test_what_happens_to_a_job_leaves_no_trace(tmp_path, hurt, ends):
    """The same command goes on: what had ended is not done again, and the results are the same.

    Args:
        ends: whether Snakemake ends because of it.
    """
    project = Project.create(tmp_path / "project", TINY)
    project.configure(language_models={"tiny": {"training": {"steps": 1500}}})
    results = project.folder / "results/language_models/tiny"
    target = "results/language_models/tiny/model/model.safetensors"
    command = ("--profile", PROFILE, *OPTIONS, *SOONER, "--", target)
    cluster = one_node_slurm.Slurm(tmp_path / "cluster", cpus=os.cpu_count() or 1)
    with FileLock(one_node_slurm.LOCK), cluster, ThreadPoolExecutor() as threads:
        first = threads.submit(project.snakemake, *command)
        log = project.folder / "results/logs/language_models/tiny/train_model.log"
        cluster.wait(log.exists, "the training to start", seconds=300)
        hurt(cluster, *running(cluster, "train_model"))
        assert first.result().returncode == int(ends)
        corpus = results / "corpus/train.safetensors"
        made = corpus.stat().st_mtime_ns
        again = project.snakemake(*command)
    assert again.returncode == 0, again.stdout
    assert jobs(again.stdout) == ({"train_model": 1} if ends else {})
    assert corpus.stat().st_mtime_ns == made
    undisturbed = Project.create(tmp_path / "undisturbed", TINY)
    undisturbed.configure(language_models={"tiny": {"training": {"steps": 1500}}})
    undisturbed.run(target)
    found, expected = (each.folder / target for each in (project, undisturbed))
    assert found.read_bytes() == expected.read_bytes()


def test_a_job_that_takes_too_much_memory_is_tried_again_with_more(tmp_path):
    project = Project.create(tmp_path / "project", TINY)
    target = "results/language_models/tiny/corpus/train.safetensors"
    rules = project.folder / "workflow/modules/language_models/Snakefile"
    text = rules.read_text(encoding="utf-8")
    rules.write_text(text.replace("mem_mb=growing(4000)", "mem_mb=growing(250)"), encoding="utf-8")
    cluster = one_node_slurm.Slurm(tmp_path / "cluster", cpus=os.cpu_count() or 1)
    with FileLock(one_node_slurm.LOCK), cluster as slurm:
        result = project.snakemake(
            *("--profile", PROFILE, *OPTIONS, *SOONER, "--retries", "2", "--", target)
        )
        tried = sorted(slurm.jobs(), key=lambda job: int(job["JobId"]))
    assert result.returncode == 0, result.stdout
    asked = [re.search(r"mem=(\w+)", job["TRES"])[1] for job in tried]
    assert asked == ["250M", "500M", "1000M"][: len(tried)]
    ended = [job["JobState"] for job in tried]
    assert len(ended) > 1
    assert {*ended[:-1]} <= {"OUT_OF_MEMORY", "FAILED", "CANCELLED"}
    assert ended[-1] == "COMPLETED"


def test_trainings_that_share_a_job_run_in_it_one_after_another(tmp_path):
    """One SLURM job for the SAEs of a variant and seed: the time of all, memory and GPU of one."""
    project = Project.create(tmp_path / "project", TINY)
    project.run("results/tiny/plan.json")
    target = (
        "results/tiny/evaluation/cost.csv"  # is added up from all trainings, in a job of its own
    )
    cluster = one_node_slurm.Slurm(tmp_path / "cluster", cpus=os.cpu_count() or 1)
    with FileLock(one_node_slurm.LOCK), cluster as slurm:
        result = project.snakemake("--profile", PROFILE, *OPTIONS, *SOONER, "--", target)
        trainings, adding = sorted(slurm.jobs(), key=lambda job: int(job["JobId"]))
    assert result.returncode == 0, result.stdout
    # Three layers, and one cluster of two of them.
    assert jobs(result.stdout) == {"train_sae": 4, "measure_cost": 1}
    assert trainings["Comment"] == "rule_train_sae-tiny-base-seed-0-0_train_sae"
    assert adding["Comment"].startswith("rule_measure_cost")
    assert "mem=4000M" in trainings["TRES"].split(",")
    assert trainings["TimeLimit"] == "16:00:00"  # four times four hours
    assert trainings["TresPerJob"] == "gres:gpu:1"
    saes = project.folder.glob("results/tiny/saes/base/*/seed-0/sae.safetensors")
    assert len({sae.stat().st_mtime_ns for sae in saes}) == 4
    assert project.plan("--", target) == {}
