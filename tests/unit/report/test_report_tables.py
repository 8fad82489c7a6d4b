"""Tables of a page: what a cell says, what it is sorted by, what is said once."""

import numpy as np
import pandas as pd
import pytest
from synthetic_results import Experiment, write_tables

from clustersae.presentation.tables import read_file
from clustersae.report import tables
from clustersae.report.tables import Cell, arranged, labels, overview, shown


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    experiment = Experiment(tmp_path_factory.mktemp("tables"), n_layers=4, counts=(2,), noise=0.02)
    return read_file(write_tables(experiment)["arms"])


def column(table, name):
    place = table.head.index(name)
    return [row[place] for row in table.rows]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (0.123456, "0.1235"),
        (-0.5, "−0.5"),
        (123456.7, "123,457"),
        (60030966000000.0, "6.003e13"),
        (2.75e-6, "2.75e−06"),
        (0.0, "0"),
        (True, "yes"),
        (np.nan, ""),
        ("worse", "worse"),
    ],
)
def test_a_cell_is_short_and_sorted_by_its_full_value(value, text):
    other = "x" if isinstance(value, str) else not value if isinstance(value, bool) else 7.5
    table = shown("any", pd.DataFrame({"each": [value, other]}), {})
    cell = table.rows[0][0]
    assert cell.text == text
    if isinstance(value, float) and not np.isnan(value):
        assert float(cell.key) == value


def test_an_interval_stands_in_the_cell_of_its_value():
    frame = pd.DataFrame(
        {
            "layer": [0, 1],
            "fvu": [0.2, 0.3],
            "fvu_low": [0.1, np.nan],
            "fvu_high": [0.4, np.nan],
            "log_low": [1, 2],  # the end of nothing
        }
    )
    table = shown("any", frame, {})
    assert table.head == ["layer", "fvu [95 %]", "log low"]
    assert column(table, "fvu [95 %]") == [
        Cell("0.2 [0.1, 0.4]", "0.2", True),
        Cell("0.3", "0.3", True),
    ]


def test_what_is_the_same_in_every_row_is_said_once():
    frame = pd.DataFrame({"layer": [0, 1], "n_seeds": [3, 3], "empty": [np.nan, np.nan]})
    table = shown("any", frame, {})
    assert (table.head, table.common) == (["layer"], {"n\u00a0seeds": "3"})
    one = shown("any", frame[:1], {})
    assert (one.head, one.common) == (["layer", "n\u00a0seeds"], {})


def test_far_longer_tables_are_left_out_and_long_ones_folded():
    def of(n_rows):
        return shown("any", pd.DataFrame({"step": range(n_rows)}), {})

    assert not of(tables.FOLDED_ROWS).folded
    assert of(tables.FOLDED_ROWS + 1).folded
    assert len(of(tables.MOST_ROWS).rows) == tables.MOST_ROWS
    assert of(tables.MOST_ROWS + 1).rows == []
    assert of(tables.MOST_ROWS + 1).n_rows == tables.MOST_ROWS + 1


def test_arms_are_called_by_what_they_are_unless_two_are_called_so(arms):
    assert labels(arms)["complete-2"] == "2 shared SAEs, complete linkage at 50 %"
    twice = pd.concat([arms, arms[arms["arm"] == "complete-2"].assign(arm="again")])
    assert {"complete-2", "again"}.isdisjoint(labels(twice))
    frame = pd.DataFrame(
        {
            **{"task": ["a", "b"], "arm": ["complete-2", "residual-basis"]},
            **{"partition": ["complete-2", "residual-basis"], "accuracy": [1, 0.5]},
        }
    )
    table = shown("any", frame, labels(arms))
    assert table.head == ["arm", "task", "accuracy"]
    named = [cell.text for cell in column(table, "arm")]
    assert named == ["2 shared SAEs, complete linkage at 50 %", "residual-basis"]


def test_the_overview_begins_with_the_best_arm_and_has_every_arm(arms):
    table = overview(arms)
    assert len(table.rows) == len(arms)
    chosen = arms[arms["chosen"]].iloc[0]
    assert table.rows[0][0].text == labels(arms)[chosen["arm"]]
    trained = [float(cell.key) for cell in column(table, "training")][1:]
    assert trained == sorted(trained)
    assert table.common == {"layers": "4", "seeds": "3", "test tokens": "1,000"}
    full = next(row for row in table.rows if row[0].text == "full per-layer SAEs")
    assert [cell.text for cell in full][2:9] == ["100 %", "100 %", full[4].text, "", "", "", ""]


def test_tables_come_in_a_reader_s_order_and_unknown_ones_last(arms):
    frame = pd.DataFrame({"layer": [0]})
    found = arranged({"own": frame, "stream": frame, "arms": arms, "comparisons": frame})
    assert [table.name for table in found] == ["comparisons", "stream", "own"]
    assert found[0].about
    assert found[2].about == ""
