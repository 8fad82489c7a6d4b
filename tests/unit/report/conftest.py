"""One synthetic page in which every text that a user can bring holds HTML."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from synthetic_page import HOSTILE, Page


class Written(NamedTuple):
    file: Path
    text: str


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Written:
    page = Page(tmp_path_factory.mktemp("page"), model=f"m{HOSTILE}")
    rows = {"task": [HOSTILE, "b", "c"], "accuracy": [0.5, None, 0.25], "n_tried": [9, 10, 80]}
    page.add_table("tasks", pd.DataFrame(rows))
    page.add_table("words", pd.DataFrame({HOSTILE: range(30), "word": [HOSTILE, *"ab" * 14, "c"]}))
    page.settings["asked"]["models"]["files"] = [HOSTILE]
    page.captions["cost"] = ("Cost", "Cost of {model} <script>document.title = 1</script>")
    file = page.write()
    return Written(file, file.read_text(encoding="utf-8"))
