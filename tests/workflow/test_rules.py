"""What every rule says about itself, and what a SLURM cluster would be asked for."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_project import REPOSITORY, TINY, Project, jobs

from clustersae.experiment.digest import script_digest

PROFILE = "workflow/profiles/slurm"
GPU_RULES = {
    *("train_model", "train_model_seed", "measure_norms", "cache_activations", "train_sae"),
    *("cache_window", "train_sae_window"),
    *("evaluate_reconstruction", "evaluate_language_model", "evaluate_splice"),
    *("evaluate_correspondence", "assess_task", "evaluate_circuits", "evaluate_residual_basis"),
    *("evaluate_features", "evaluate_directions", "evaluate_transfer", "evaluate_probing"),
    *("measure_generation", "measure_generation_seed"),
}

#: Appended to the Snakefile: what Snakemake has understood of every rule, as JSON.
DESCRIBE = """
import json
from types import SimpleNamespace

#: Of a job whose model is not there yet.
wildcards, input_files = SimpleNamespace(model="tiny"), SimpleNamespace(files=[], trained=[])

def param_of(rule, name):
    # What draws figures and writes the verdict has digests by wildcards: functions.
    value = dict(rule.params.items()).get(name)
    return None if callable(value) else value

def described(rule):
    return {
        "script": rule.script,
        "log": [str(file) for file in rule.log],
        "benchmark": str(rule.benchmark),
        "conda": rule.conda_env,
        "message": rule.message,
        "code": param_of(rule, "code"),
        "module": param_of(rule, "module"),
        "local": rule.name in workflow._localrules,
        "resources": [
            {
                name: resource.evaluate(wildcards, input=input_files, attempt=attempt).value
                for name, resource in rule.resources.items()
                if name in ("gpu", "gpus", "mem_mb", "runtime", "_cores")
            }
            for attempt in (1, 2)
        ],
    }

with open("rules.json", "w") as file:
    json.dump({rule.name: described(rule) for rule in workflow.rules}, file)
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Every rule but `all`, as Snakemake sees it."""
    project = Project.create(tmp_path_factory.mktemp("rules") / "project", TINY)
    with (project.folder / "Snakefile").open("a") as file:
        file.write(DESCRIBE)
    assert project.snakemake("-n").returncode == 0
    described = json.loads((project.folder / "rules.json").read_text())
    del described["all"]
    assert len(described) > 20
    return described


#: About all models together.
ACROSS_MODELS = {"plan", "tabulate_trainings"}
#: Of the module that trains language models.
OF_MODULE = {
    *("build_corpus", "generate_corpus", "train_model", "train_model_seed"),
    *("measure_generation", "measure_generation_seed", "figure_language_model"),
    *("tabulate_seeds", "tabulate_trainings"),
}


def test_every_rule_has_a_log_a_benchmark_an_environment_and_a_message(rules):
    for name, rule in rules.items():
        assert len(rule["log"]) == 1, name
        folder = "language_models/" if name in OF_MODULE else ""
        folder += "" if name in ACROSS_MODELS else "{model"
        assert rule["log"][0].startswith(f"results/logs/{folder}"), name
        if name != "plan":  # a product of its own would be there the second time
            assert rule["benchmark"].startswith(f"results/benchmarks/{folder}"), name
        place = "modules/language_models" if name in OF_MODULE else "rules"
        environment = REPOSITORY / "workflow" / place / rule["conda"]
        assert environment.is_file(), name
        about = "" if name in ACROSS_MODELS else r".*\{wildcards\.model\}"
        assert re.match(f"[A-Z]{about}", rule["message"]), name


def test_every_rule_carries_the_digest_of_its_own_script(rules):
    rules = dict(rules)
    for name in ("figure", "verdict"):
        assert rules.pop(name)["code"] is None, "tested without Snakemake: test_registries.py"
    for name, rule in rules.items():
        script = rule["script"].rpartition("/")[2]
        named = [rule["module"]] if rule["module"] else []
        scripts = REPOSITORY / "workflow" / "scripts"
        assert rule["code"] == script_digest(script, scripts, *named), name


def test_every_rule_asks_for_memory_and_time_and_for_more_the_second_time(rules):
    for name, rule in rules.items():
        first, second = rule["resources"]
        assert 0 < first["mem_mb"] <= 16000, name
        assert 0 < first["runtime"] <= 24 * 60, name
        if not rule["local"]:
            assert second["mem_mb"] == 2 * first["mem_mb"], name
            assert second["runtime"] == 2 * first["runtime"], name


def test_rules_that_run_a_model_ask_for_one_gpu(rules):
    """`gpu`, the name that the SLURM plugin reads; it ignores `gpus`."""
    assert {name for name, rule in rules.items() if "gpu" in rule["resources"][0]} == GPU_RULES
    assert all(rules[name]["resources"][0]["gpu"] == 1 for name in GPU_RULES)
    assert not any("gpus" in rule["resources"][0] for rule in rules.values())


def test_tables_and_figures_stay_local(rules):
    local = {name for name, rule in rules.items() if rule["local"]}
    figures = {"figure", "figure_language_model"}
    tables = {"plan_pilots", "make_plan", "plan"}
    tables |= {"tables", "correspondence_table", "circuit_tables", "feature_tables"}
    tables |= {"transfer_tables", "probing_table"}
    tables |= {"tabulate_seeds", "tabulate_trainings", "verdict", "report_page"}
    tables |= {"summary_table"}
    assert local == {*tables, *figures, "track_training"}


class Resources(dict):
    """A job's resources as the plugin reads them: by name and as attributes."""

    __getattr__ = dict.__getitem__


def submission(rule: dict, attempt: int) -> str:
    resources = Resources(rule["resources"][attempt - 1])
    job = SimpleNamespace(resources=resources, threads=resources["_cores"], is_group=lambda: False)
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    return get_submit_command(job, dict.fromkeys(names, "")) + set_gres_string(job)


def test_slurm_is_asked_for_the_right_gpus_memory_and_time(rules):
    command = submission(rules["train_sae"], attempt=1)
    assert command.endswith(" --gpus=1")
    assert "--mem 4000 " in command
    assert "-t 240 " in command
    assert "--mem 8000 " in submission(rules["train_sae"], attempt=2)
    assert "gpu" not in submission(rules["layer_distances"], attempt=1)
    assert re.search(r"--cpus-per-task=1\b", submission(rules["train_model"], attempt=1))


def test_a_dry_run_with_the_slurm_profile_plans_every_job(fresh):
    result = fresh.snakemake("-n", "--profile", PROFILE)
    assert result.returncode == 0, result.stdout
    planned = jobs(result.stdout)
    assert planned.items() >= {"train_model": 1, "measure_norms": 1}.items()
    assert planned["cache_activations"] >= 1  # of the training split; others may wait for the plan


def test_the_rules_that_the_profile_names_exist(rules):
    """Its examples are commented out, so nothing else would notice a rule that was renamed."""
    text = (REPOSITORY / PROFILE / "profile.yaml").read_text()
    block = text[text.index("# set-resources:") :]
    examples = yaml.safe_load(re.sub(r"^# ", "", block, flags=re.MULTILINE))
    # Beside where GPU jobs go, the memory of the import, which may not know the model's size.
    assert examples["set-resources"].keys() == GPU_RULES | {"import_model"}


def test_the_linter_has_nothing_to_say(fresh):
    result = fresh.snakemake("--lint")
    assert result.returncode == 0, result.stdout
    assert "good condition" in result.stdout


def test_the_rules_are_formatted():
    command = [sys.executable, "-m", "snakefmt", "--check"]
    command += ["Snakefile", "workflow/rules", "workflow/modules"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
