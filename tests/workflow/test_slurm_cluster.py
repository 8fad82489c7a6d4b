"""The profile of SLURM on a real cluster, of one node: Debian's packages on this machine."""

import os
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
    import sys

    if gpus:
        with open("shown.txt", "a") as file:  # tmpabc.train_sae.py
            print(sys.argv[0].split(".")[-2], os.environ["CUDA_VISIBLE_DEVICES"], file=file)
    return _choose_all(gpus)
"""
REASON = one_node_slurm.missing()

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


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


def test_after_scancel_the_same_command_goes_on(tmp_path):
    """And makes what an undisturbed run makes, without doing again what had ended."""
    project = Project.create(tmp_path / "project", TINY)
    results = project.folder / "results/language_models/tiny"
    model = results / "model/model.safetensors"
    command = (
        "--profile",
        PROFILE,
        *OPTIONS,
        *SOONER,
        "--",
        str(model.relative_to(project.folder)),
    )
    cluster = one_node_slurm.Slurm(tmp_path / "cluster", cpus=os.cpu_count() or 1)

    def training():
        return [
            job["JobId"]
            for job in cluster.jobs()
            if job["Comment"].startswith("rule_train_model") and job["JobState"] == "RUNNING"
        ]

    with FileLock(one_node_slurm.LOCK), cluster, ThreadPoolExecutor() as threads:
        first = threads.submit(project.snakemake, *command)
        cluster.wait(lambda: bool(training()), "the training to start", seconds=300)
        cluster.command("scancel", *training())
        assert first.result().returncode == 1
        assert not model.exists()
        corpus = results / "corpus/train.safetensors"
        made = corpus.stat().st_mtime_ns
        again = project.snakemake(*command)
    assert again.returncode == 0, again.stdout
    assert jobs(again.stdout) == {"train_model": 1}
    assert corpus.stat().st_mtime_ns == made
    undisturbed = Project.create(tmp_path / "undisturbed", TINY)
    undisturbed.run(command[-1])
    assert model.read_bytes() == (undisturbed.folder / command[-1]).read_bytes()


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
