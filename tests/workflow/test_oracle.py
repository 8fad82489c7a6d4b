"""Two small experiments come out as they were recorded: every SAE's bits, every number."""

import pandas as pd
import pytest
from language_models import SHARED
from recorded_results import changed_cells, changed_saes, same_machine
from snakemake_project import REPOSITORY, Project

from clustersae.sae import native

ORACLE = REPOSITORY / "tests" / "oracle"
#: On another machine roundings differ, and training makes much of them: 5.4 % at most were seen.
ELSEWHERE = 0.1


@pytest.mark.long
@pytest.mark.parametrize("name", ["toy", "stories260k"])
def test_an_experiment_comes_out_as_recorded(name, tmp_path, monkeypatch):
    if name == "stories260k" and not SHARED.is_dir():
        pytest.skip("the pretrained model and its text are not here")
    # Recorded are the bits of PyTorch's own operations, the reference of the compiled step.
    monkeypatch.setenv(native.SWITCH, "0")
    project = Project.create(tmp_path / "project", ORACLE / f"{name}.yaml")
    file = project.folder / "config.yaml"
    file.write_text(file.read_text().replace("DATA", str(SHARED)))
    project.run()
    results, recorded = project.folder / "results" / name, ORACLE / "recorded" / name
    if same_machine(recorded):
        assert changed_saes(results, recorded) == []
        assert changed_cells(results, recorded) == []
        return
    old, new = (
        pd.read_csv(folder / "arms.csv").set_index("arm")["fvu"]
        for folder in (recorded, results / "tables")
    )
    assert set(old.index) == set(new.index)
    assert ((new / old - 1).abs() < ELSEWHERE).all()
