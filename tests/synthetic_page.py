"""The page of an invented experiment, written by the scripts that write those of real ones."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import draw
import pandas as pd
import report_page
import verdict
from synthetic_results import MARGINS, Experiment, write_tables

#: Would be seen by the tests: it renames the page, or asks the network.
HOSTILE = "</script></pre><script>document.title = 'run'</script><img src='http://127.0.0.1:9/x'>"
FIGURES = {
    "specialise": ("Quality", ["arms", "comparisons"], {"margins": MARGINS}),
    "quality_cost": ("Quality", ["arms"], {"margins": MARGINS}),
    "cost": ("Cost", ["cost", "arms"], {}),
}
CAPTIONS = Path(importlib.import_module("clustersae").__file__).parents[2] / "report"


class Page:
    """Everything that a page of `model` is made from, below `folder`; `write` makes it.

    Attributes:
        tables: files by name, to add to or to change.
        settings, captions: what the rule would give.
    """

    def __init__(self, folder: Path, model: str = "a-model") -> None:
        self.folder, self.model = folder, model
        self.experiment = Experiment(
            folder, n_layers=4, counts=(2,), specialise=(1,), controls=False, noise=0.02
        )
        self.tables = write_tables(self.experiment)
        self.captions = {
            name: (category, (CAPTIONS / f"{name}.rst").read_text(encoding="utf-8"))
            for name, (category, _, _) in FIGURES.items()
        } | {"verdict": ("Answer", "What {model} answers.")}
        self.settings: dict[str, Any] = {
            "asked": {"models": {model: {"sae": {"k": 8}}}},
            "complete": {"models": {model: {"sae": {"k": 8, "seeds": [0, 1, 2]}}}},
        }

    def add_table(self, name: str, frame: pd.DataFrame) -> None:
        self.tables[name] = self.folder / f"tables/{name}.csv"
        frame.to_csv(self.tables[name], index=False)

    def write(self) -> Path:
        folder = self.folder
        verdict.main(
            [self.tables[name] for name in ("arms", "comparisons", "cost", "stream")],
            {"Quality and cost": "clustersae.quality.text"},
            self.experiment.partitions_file,
            *(folder / f"tables/{name}" for name in ("verdict.txt", "verdict.json", "long.txt")),
            margins=MARGINS,
            options={},
        )
        svgs = []
        for name, (_, tables, options) in FIGURES.items():
            svgs.append(folder / f"figures/{name}.svg")
            files = {table: str(self.tables[table]) for table in tables}
            module = f"clustersae.{'cost.figure' if name == 'cost' else f'quality.figure_{name}'}"
            draw.main(module, files, options, self.model, str(svgs[-1]), str(folder / "drawn.png"))
        report_page.main(
            self.model,
            folder / "tables/verdict.json",
            folder / "tables/long.txt",
            svgs,
            list(self.tables.values()),
            self.experiment.cost_file,
            self.captions,
            self.settings,
            folder / "report.html",
        )
        return folder / "report.html"


class Written(NamedTuple):
    file: Path
    text: str


def hostile_page(folder: Path) -> Written:
    """A page in which every text that a user can bring holds HTML."""
    page = Page(folder, model=f"m{HOSTILE}")
    rows = {"task": [HOSTILE, "b", "c"], "accuracy": [0.5, None, 0.25], "n_tried": [9, 10, 80]}
    page.add_table("tasks", pd.DataFrame(rows))
    page.add_table("words", pd.DataFrame({HOSTILE: range(30), "word": [HOSTILE, *"ab" * 14, "c"]}))
    page.settings["asked"]["models"]["files"] = [HOSTILE]
    page.captions["cost"] = ("Cost", "Cost of {model} <script>document.title = 1</script>")
    file = page.write()
    return Written(file, file.read_text(encoding="utf-8"))
