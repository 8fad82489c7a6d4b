"""Text in tables is what was written, whatever pandas takes it for."""

import math

import pandas as pd
import pytest

from clustersae.presentation.tables import Format, read_file, read_files, write_table

#: What pandas reads as missing unless told otherwise.
WORDS = ["NA", "null", "None", "nan", "n/a", "N/A", "NaN", "NULL", "<NA>", "-nan", "1", "3.0", ""]


@pytest.mark.parametrize("column", ["task", "explanation", "reason"])
def test_words_for_nothing_are_words_and_an_empty_cell_is_nothing(tmp_path, column):
    write_table(pd.DataFrame({column: WORDS, "f1": 0.5}), tmp_path / "table.csv")
    read = read_file(tmp_path / "table.csv")[column]
    assert list(read[:-1]) == WORDS[:-1]
    assert read.isna().tolist() == [False] * (len(WORDS) - 1) + [True]


def test_numbers_that_there_are_none_of_are_nan(tmp_path):
    (tmp_path / "table.csv").write_text("task,f1,n,count\nNA,nan,1,\nb,0.5,2,3\nc,,3,4\n")
    frame = read_files([tmp_path / "table.csv"], Format(("task",), ("f1", "n", "count")))
    assert frame.dtypes[["f1", "n", "count"]].map(str).tolist() == ["float64", "int64", "float64"]
    assert frame["f1"].map(math.isnan).tolist() == [True, False, True]
    assert frame["task"].tolist() == ["NA", "b", "c"]
