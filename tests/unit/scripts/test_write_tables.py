"""Files of a question become its tables, by the names that the rule gives them."""

import pandas as pd
import write_tables
from synthetic_results import Experiment, plan_of

QUESTION = """
import pandas as pd

def tables(plan, measured, alone, factor):
    rows = pd.concat([pd.read_csv(path) for path in [*measured, alone]]) * factor
    arms = pd.DataFrame({"arm": [arm.name for arm in plan.arms]})
    return {"rows": rows, "arms": arms, "left out": rows}
"""


def test_it_writes_what_the_question_makes(tmp_path, monkeypatch):
    experiment = Experiment(tmp_path / "experiment", counts=(2,))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "question_of_a_test.py").write_text(QUESTION)
    monkeypatch.setattr(write_tables, "read_plan", {"plan.json": plan_of(experiment)}.get)
    paths = [tmp_path / f"{number}.csv" for number in range(3)]
    for number, path in enumerate(paths):
        pd.DataFrame({"value": [number]}).to_csv(path, index=False)
    out = {name: str(tmp_path / f"{name}.csv") for name in ("rows", "arms")}
    measured = {"plan": "plan.json", "measured": paths[:2], "alone": paths[2]}
    write_tables.main("question_of_a_test", measured, out, {"factor": 10})
    assert pd.read_csv(out["rows"])["value"].tolist() == [0, 10, 20]
    assert pd.read_csv(out["arms"])["arm"].tolist() == [arm.name for arm in experiment.arms]
    assert not (tmp_path / "left out.csv").exists()
