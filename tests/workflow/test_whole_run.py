"""The whole workflow on a tiny experiment, and what its results say."""

import csv
import json
import re

FIGURES = [
    *("layer_distances", "quality_cost", "layer_fvu"),
    *("cost", "training_curves", "latent_density"),
    *("circuits", "circuit_curves", "features", "summary"),
]
TABLES = [
    *("layer_quality", "arms", "cost", "training", "latent_density"),
    *("tasks", "circuits", "circuit_curves", "features", "feature_meaning"),
]


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_table_and_figure_is_there(first_run):
    folder = first_run[0].folder / "results" / "tiny"
    for table in TABLES:
        assert rows(folder / "tables" / f"{table}.csv"), table
    # Comparisons at equal cost: this experiment has no arm to compare with, so only the header.
    assert "cost_ratio" in (folder / "tables" / "comparisons.csv").read_text()
    for figure in FIGURES:
        assert (folder / "figures" / f"{figure}.svg").read_text().rstrip().endswith("</svg>")
        assert (folder / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / f"{figure}.pdf").read_bytes().startswith(b"%PDF")


def test_the_verdict_is_printed_at_the_end(first_run):
    project, result = first_run
    verdict = (project.folder / "results/tiny/tables/verdict.txt").read_text(encoding="utf-8")
    assert verdict.startswith("Best: ")
    assert verdict in result.stdout
    assert result.stdout.index(verdict) > result.stdout.index("(100%) done")


def test_the_page_is_named_after_the_verdict_and_holds_what_was_found(first_run):
    project, result = first_run
    printed = result.stdout.partition("(100%) done")[2]
    assert printed.index("results/tiny/report.html") > printed.index("Best: ")
    text = (project.folder / "results/tiny/report.html").read_text(encoding="utf-8")
    for figure in FIGURES:
        assert f'id="figure-{figure}"' in text, figure
    for table in TABLES:
        assert f'id="table-{table}"' in text, table
    assert "d_sae: 32" in text
    assert "n_heads: 2" in text  # of the language model that was trained


def test_no_temporary_file_is_left(first_run):
    assert [name for name in first_run[0].files() if "/." in name] == []


#: Rules whose jobs take long on a large model or text.
LONG = (
    *("tokenise_corpus", "measure_norms", "cache_activations", "activation_statistics"),
    *("layer_distances", "train_sae", "evaluate_reconstruction", "evaluate_language_model"),
    *("evaluate_splice", "evaluate_correspondence", "evaluate_transfer", "evaluate_features"),
    *("assess_task", "evaluate_circuits"),
)


def test_long_jobs_say_how_far_they_are(first_run):
    files = [file for file in first_run[0].files() if file.startswith("logs/")]
    # A figure has the name of the job whose result it shows.
    files = [file for file in files if "/figures/" not in file]
    logs = {file: (first_run[0].folder / "results" / file).read_text("utf-8") for file in files}
    silent = [
        file
        for file, text in logs.items()
        if set(LONG) & set(re.split(r"[/.]", file)) and not re.search(r"100 %\), .* left, ", text)
    ]
    # A task that the model cannot do ends before anything is recorded.
    assert silent == ["logs/tiny/assess_task/induction.log"]


def test_every_job_has_a_log_and_a_benchmark(first_run):
    files = first_run[0].files()
    logs = {file.removeprefix("logs/")[:-4] for file in files if file.startswith("logs/")}
    marks = {file.removeprefix("benchmarks/")[:-4] for file in files if file.startswith("bench")}
    assert logs == marks
    # 11 up to the plan, 2 for each of 4 SAEs, the model, 2 arms, cost, tables, 12 figures
    quality = 11 + 2 * 4 + 1 + 2 + 1 + 1 + 12
    # SAEs read on other layers, and their tables
    quality += 2
    # 2 tasks; circuits of one of them, in 2 arms and without SAEs, and their tables
    circuits = 2 + 3 + 1
    # 2 arms and whole activations probed, and their table
    probes = 2 + 1 + 1
    # features of 2 arms and their tables, what latents write and the page of them; the verdict,
    # the summary and the page of everything
    assert len(marks) == quality + circuits + probes + 2 + 1 + 2 + 2 + 1


def test_only_a_task_that_the_model_can_do_gets_circuits(first_run):
    folder = first_run[0].folder / "results/tiny"
    tasks = {row["task"]: row["usable"] for row in rows(folder / "tables/tasks.csv")}
    assert tasks == {"prompts": "True", "induction": "False"}
    assert [path.name for path in (folder / "evaluation/circuits").iterdir()] == ["prompts"]
    measured = {(row["task"], row["arm"]) for row in rows(folder / "tables/circuits.csv")}
    assert measured == {("prompts", arm) for arm in ("per-layer", "complete-2", "residual-basis")}
    verdict = (folder / "tables/verdict_long.txt").read_text(encoding="utf-8")
    assert "can do 1 of 2 tasks (prompts" in " ".join(verdict.split())


def test_every_layer_is_measured_in_every_arm(first_run):
    table = rows(first_run[0].folder / "results/tiny/tables/layer_quality.csv")
    for partition in ("per-layer", "complete-2"):
        for split in ("validation", "test"):
            layers = [
                row["layer"]
                for row in table
                if (row["partition"], row["split"]) == (partition, split)
            ]
            assert sorted(layers) == ["0", "1", "2"], (partition, split)


def test_a_single_layer_is_the_same_sae_in_every_partition(first_run):
    """A cluster of one layer is that layer's baseline: the same file, so the same numbers."""
    folder = first_run[0].folder / "results" / "tiny"
    partitions = json.loads((folder / "clusters" / "partitions.json").read_text())["partitions"]
    assert partitions["per-layer"]["clusters"] == ["0", "1", "2"]
    (alone,) = (name for name in partitions["complete-2"]["clusters"] if name.isdecimal())
    (shared,) = (name for name in partitions["complete-2"]["clusters"] if name != alone)
    trained = {path.name for path in (folder / "saes" / "base").iterdir()}
    assert trained == {"0", "1", "2", shared}
    figures = ("fvu", "mse", "cosine", "l0", "dead_fraction", "ce_spliced", "kl")
    measured = [
        [row[figure] for figure in figures]
        for row in rows(folder / "tables" / "layer_quality.csv")
        if row["layer"] == alone and row["split"] == "test"
    ]
    assert len(measured) == 2
    assert measured[0] == measured[1]


def test_a_second_run_has_nothing_to_do(first_run):
    result = first_run[0].snakemake("-n")
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout
