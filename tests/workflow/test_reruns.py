"""Which jobs a change brings about: all that depend on it, and no other."""

import json
import os
import random
import shutil
import time

import pytest
import yaml
from language_models import save_tiny_model
from snakemake_project import REPOSITORY, jobs, reasons

#: All figures of this experiment: those of quality and cost, two of circuits, two of features, and
#: the summary.
FIGURES = {"figure": 11}
ANSWER = {"verdict": 1, "summary_table": 1, "report_page": 1}
TABLES = {"tables": 1, "circuit_tables": 1, "feature_tables": 1, "probing_table": 1}
TABLES |= ANSWER
#: Four SAEs (layers 0, 1, 2 and one pair), read by two arms, with a single seed.
ARMS = {"evaluate_splice": 2, "evaluate_circuits": 2, "evaluate_features": 2, "evaluate_probing": 2}
#: The page of latents, for which all arms' features are read.
BROWSER = {"evaluate_directions": 1, "build_browser": 1}
#: Whether similarity predicts sharing is asked of the per-layer SAEs.
TRANSFER = {"evaluate_transfer": 1, "transfer_tables": 1}
FROM_SAES = {
    **{"evaluate_reconstruction": 4, **ARMS, **TRANSFER, **BROWSER, "measure_cost": 1, **TABLES},
    "figure": FIGURES["figure"] + 1,
}
#: Figures that are drawn from the tables of the rule `tables`.
FROM_TABLES = {"tables": 1, **ANSWER, "figure": 7}
PLAN = "results/tiny/plan.json"


def test_another_count_trains_only_new_clusters(finished):
    """K = 1 needs one SAE more; K = 3 of 3 layers is the per-layer baseline and needs none."""
    finished.configure(arms={"shared": {"counts": [1, 2, 3]}})
    finished.run(PLAN)
    new = {"train_sae": 1, "evaluate_reconstruction": 1}
    rest = {**dict.fromkeys(ARMS, 1), **BROWSER, "measure_cost": 1, **TABLES}
    assert finished.plan() == {**new, **rest, **FIGURES}


def test_clustering_again_to_the_same_clusters_trains_nothing(finished):
    finished.configure(clustering={"seed": 1})
    assert finished.plan()["cluster_layers"] == 1
    finished.run(PLAN)
    assert finished.plan().keys() <= {*TABLES, *FIGURES}


def test_other_margins_change_tables_and_what_shows_them(finished):
    finished.configure(arms={"margins": {"mean": 0.2, "worst": 0.4}})
    finished.run(PLAN)
    plan = finished.plan()
    assert plan.keys() <= {*TABLES, *FIGURES}
    assert plan.items() >= {"tables": 1, "verdict": 1}.items()


def test_the_plan_is_printed_every_time_and_without_an_earlier_answer(finished):
    for _ in range(2):
        printed = finished.run("plan").stdout
        assert "tiny: plan" in printed
        assert "complete-2" in printed
        assert "Best:" not in printed


def test_another_k_caches_nothing_and_trains_every_sae(finished):
    finished.configure(sae={"k": 3})
    finished.run(PLAN)
    assert finished.plan() == {"train_sae": 4, **FROM_SAES}


def test_another_seed_trains_only_that_seed(finished):
    finished.configure(sae={"seeds": [0, 5]})
    finished.run(PLAN)
    assert finished.plan() == {"train_sae": 4, **FROM_SAES}
    messages = finished.snakemake("-n").stdout
    assert messages.count("(base, seed 5)") == 4
    assert "(base, seed 0)" not in messages


def test_more_tokens_cache_more_and_leave_the_model_alone(finished):
    finished.configure(activations={"tokens": {"test": 500}})
    plan = finished.plan()
    assert plan["cache_activations"] == 1
    assert not plan.keys() & {"build_corpus", "train_model", "activation_statistics", "train_sae"}


@pytest.mark.parametrize(
    ("module", "first", "plan"),
    [
        ("sae/loss.py", {"train_sae"}, {"train_sae": 4, **FROM_SAES}),
        (
            "quality/language_model.py",
            {"evaluate_language_model"},
            {"evaluate_language_model": 1, "evaluate_splice": 2, **FROM_TABLES},
        ),
        ("cost/measure.py", {"measure_cost"}, {"measure_cost": 1, **FROM_TABLES}),
        (
            "circuits/controls.py",
            {"evaluate_circuits", "evaluate_residual_basis"},
            {"evaluate_circuits": 2, "evaluate_residual_basis": 1}
            | {"circuit_tables": 1, **ANSWER, "figure": 3},
        ),
        (
            "features/rules.py",
            {"evaluate_features"},
            {"evaluate_features": 2, "feature_tables": 1, **BROWSER, "verdict": 1, "figure": 1}
            | {"report_page": 1},
        ),
        ("browser/details.py", {"build_browser"}, {"build_browser": 1}),
        ("quality/figure_latent_density.py", {"figure"}, {"figure": 1, "report_page": 1}),
    ],
)
def test_a_library_edit_reruns_exactly_the_rules_that_use_it(finished, module, first, plan):
    """The rules in `first` change by themselves, the others because of what they read."""
    finished.edit(f"workflow/scripts/clustersae/{module}", "\n\n\n", "\n\nADDED = 1\n\n\n")
    result = finished.snakemake("-n")
    assert reasons(result.stdout)["params have changed since last execution"] == first
    assert jobs(result.stdout) == plan


def test_comments_docstrings_formatting_and_time_stamps_rerun_nothing(finished):
    scripts = finished.folder / "workflow" / "scripts"
    finished.edit("workflow/scripts/clustersae/sae/loss.py", '"""', '"""Differently put. ')
    for script in scripts.rglob("*.py"):
        script.write_text(script.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    future = max(path.stat().st_mtime for path in finished.folder.rglob("*")) + 60
    for path in finished.folder.joinpath("workflow").rglob("*"):
        os.utime(path, (future, future))  # as a checkout of the repository may do
    assert finished.plan() == {}


@pytest.mark.parametrize("file", ["report/cost.rst", "scripts/clustersae/report/assets/page.html"])
def test_another_caption_or_template_writes_the_page_anew_and_nothing_else(finished, file):
    finished.edit(f"workflow/{file}", " the ", " just the ")
    assert finished.plan() == {"report_page": 1}


def test_a_clock_that_jumps_reruns_nothing(finished):
    """Also for files above 100 kB, of which Snakemake itself takes no checksum."""
    draw, day = random.Random(0), 86_400
    files = [finished.folder / "results" / name for name in finished.files()]
    assert any(file.stat().st_size > 100_000 and "shard" in file.name for file in files)
    for file in files:
        then = time.time() + draw.choice((-365, -1, 1, 365)) * day
        os.utime(file, (then, then))
    assert finished.plan() == {}


def test_an_edited_text_is_read_again(finished):
    text = finished.folder / "text.txt"
    os.utime(text)
    assert finished.plan() == {}
    finished.edit("text.txt", "dog", "cow")
    os.utime(text, (10_000, 10_000))  # as a copy may have it
    start = {"build_corpus": 1, "train_model": 1, "import_model": 1, "cluster_layers": 1}
    assert finished.plan().items() >= start.items()


def test_an_edited_task_is_assessed_again(finished):
    prompts = finished.folder / "prompts.jsonl"
    os.utime(prompts)
    assert finished.plan() == {}
    finished.edit("prompts.jsonl", "the cat sat on", "the cat saw on")
    os.utime(prompts, (10_000, 10_000))  # as a copy may have it
    plan = finished.plan()
    assert plan["assess_task"] == 1
    assert not plan.keys() & {"train_sae", "import_model"}


@pytest.mark.long
def test_activations_may_be_deleted_after_a_run(finished):
    """They are the largest files by far; they come back when something needs them."""
    shutil.rmtree(finished.folder / "results" / "tiny" / "activations" / "train")
    assert finished.plan() == {}
    finished.configure(sae={"seeds": [0, 5]})
    finished.run(PLAN)
    assert finished.plan()["cache_activations"] == 1
    sae = "results/tiny/saes/base/0/seed-{}/sae.safetensors"
    before = (finished.folder / sae.format(0)).stat()
    finished.run(sae.format(5))
    assert (finished.folder / sae.format(0)).stat() == before


@pytest.mark.long
def test_an_imported_model_is_imported_again_when_it_was_replaced(fresh):
    corpus = {"source": "text", "files": ["text.txt"], "n_ctx": 16}
    fresh.configure(models={"tiny": {"trained": None, "path": "model", "corpus": corpus}})
    source = save_tiny_model("gpt2", fresh.folder / "model") / "model.safetensors"
    before = source.stat()
    description = "results/tiny/model/description.json"
    fresh.run(description)
    assert fresh.plan(description) == {}
    copy = fresh.folder / "results" / "tiny" / "model" / "model.safetensors"
    assert copy.read_bytes() == source.read_bytes()
    assert (before.st_ino, before.st_mtime) == (source.stat().st_ino, source.stat().st_mtime)
    assert copy.stat().st_ino != before.st_ino

    os.utime(source)
    assert fresh.plan(description) == {}

    source.write_bytes(source.read_bytes()[:-4] + bytes(4))
    os.utime(source, (before.st_atime - 9999, before.st_mtime - 9999))  # as a copy may have it
    assert fresh.plan(description) == {"import_model": 1}


def test_a_data_set_is_read_again_when_a_file_of_it_was_replaced(fresh):
    data = fresh.folder / "data"
    data.mkdir()
    # A word of the tiny tokenizer per document.
    lines = (json.dumps({"text": f"w{2 + index % 40}"}) for index in range(12_000))
    text = "\n".join(lines) + "\n"
    (data / "train.jsonl").write_text(text)
    save_tiny_model("gpt2", fresh.folder / "model")
    corpus = {"source": "dataset", "dataset": "data", "n_ctx": 16}
    fresh.configure(models={"tiny": {"trained": None, "path": "model", "corpus": corpus}})
    summary = "results/tiny/corpus/corpus.json"
    fresh.run(summary)
    os.utime(data / "train.jsonl")
    assert fresh.plan(summary) == {}
    (data / "train.jsonl").write_text(text.replace("w30", "w31"))
    os.utime(data / "train.jsonl", (10_000, 10_000))
    assert fresh.plan(summary) == {"tokenise_corpus": 1}


def test_several_models_share_one_run(finished):
    given = yaml.safe_load((finished.folder / "config.yaml").read_text())
    other = given["language_models"]["tiny"]
    finished.configure(language_models={"other": other}, models={"other": {"trained": "other"}})
    result = finished.snakemake("-n")
    once = {"build_corpus": 1, "train_model": 1, "cluster_layers": 1, "tables": 1}
    assert jobs(result.stdout).items() >= {**once, "figure": FROM_SAES["figure"]}.items()
    assert "results/other/" in result.stdout
    assert "of tiny" not in result.stdout  # finished already


def test_another_configfile_replaces_config_yaml(finished):
    """Snakemake would merge the two; then an experiment would depend on a file it does not name."""
    other = yaml.safe_load((finished.folder / "config.yaml").read_text())
    other["models"] = {"other": other["models"]["tiny"]}
    del other["arms"]
    (finished.folder / "other.yaml").write_text(yaml.safe_dump(other))
    finished.configure(sae={"k": 3})  # of config.yaml: must change nothing here
    result = finished.snakemake("-n", "--configfile", "other.yaml")
    assert "other" in result.stdout
    assert "results/tiny" not in result.stdout
    assert "cluster_layers" in jobs(result.stdout)  # which arms.auto waits for, the default again


@pytest.mark.long
def test_auto_reuses_the_cache_and_settles_on_a_count(finished):
    margins = {"mean": 1000.0, "worst": 1000.0}
    finished.configure(arms={"auto": ["shared"], "pilot_fraction": 0.5, "margins": margins})
    assert not finished.plan().keys() & {"cache_activations", "train_model"}
    finished.run("results/tiny/tables/verdict.txt")
    folder = finished.folder / "results" / "tiny"
    auto = json.loads((folder / "plan.json").read_text())["auto"]
    assert (auto["family"], auto["entry"]) == ("shared", 1)  # any loss is within these margins
    assert (folder / "saes" / "base" / "0-2").is_dir()
    assert "1 shared SAE" in (folder / "tables" / "verdict.txt").read_text(encoding="utf-8")


def test_the_copies_hold_the_workflow_of_the_repository(fresh):
    """Guards the tests above: they speak about this repository's files."""
    for part in ("Snakefile", "workflow/rules/saes.smk"):
        assert (fresh.folder / part).read_bytes() == (REPOSITORY / part).read_bytes()
    assert shutil.which("git") is None or not (fresh.folder / ".git").exists()


@pytest.mark.long
def test_tracking_writes_what_it_is_for_and_trains_nothing(finished):
    before = finished.files()
    finished.configure(exports={"tracking": "tensorboard"})
    assert finished.plan() == {"track_training": 4, "report_page": 1}  # the page has settings
    finished.run()
    new = [file for file in set(finished.files()) - set(before) if "/events.out." in file]
    assert len(new) == 4
    assert all("tiny/tracking/tensorboard/base/" in file for file in new)
    finished.configure(exports={"tracking": "none"})
    assert finished.plan() == {"report_page": 1}
