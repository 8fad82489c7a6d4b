"""docs/notebook.ipynb, executed on a finished run."""

import json

import nbformat
import pytest
from nbclient import NotebookClient
from snakemake_project import REPOSITORY

import clustersae
from clustersae.activations.mask import load_limits
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.quality.splice import EvaluationTokens, measure, splice_of

NOTEBOOK = REPOSITORY / "docs/notebook.ipynb"


def test_it_is_kept_without_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_it_runs_and_measures_what_the_workflow_measures(first_run, monkeypatch):
    folder = first_run[0].folder / "results/tiny"
    monkeypatch.setenv("CLUSTERSAE_RUN", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "workflow/scripts"))
    notebook = nbformat.read(NOTEBOOK, 4)
    notebook.cells.append(nbformat.v4.new_code_cell("import json; print(json.dumps(ce))"))
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute()
    printed = json.loads(notebook.cells[-1].outputs[-1]["text"])

    run = clustersae.Run(folder)
    stream = ResidualStream(load_model(run.model_folder, run.description), run.description)
    text = run.text("test")
    n_rows = 4000 // text.tokens.shape[1]
    rows = EvaluationTokens(text.tokens[:n_rows], text.kept[:n_rows], text.scored[:n_rows])
    arms = ["per-layer", "complete-2"]
    splices = [splice_of(list(set(run.saes(arm).values()))) for arm in arms]
    limits = load_limits(folder / "activations/norms.safetensors")
    clean, effects, _ = measure(stream, rows, splices, limits=limits)
    expected = {"without SAEs": clean} | {arm: effect.ce for arm, effect in zip(arms, effects)}
    assert printed == pytest.approx(expected, abs=1e-4)
    assert printed["per-layer"] > printed["without SAEs"]
