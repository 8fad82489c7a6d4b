"""Tables of a run as a page shows them: what all rows share said once, intervals in one cell.

Cells are text and, apart from it, the value that they are sorted by.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from clustersae.experiment.arms import PER_LAYER
from clustersae.presentation.arms import full_label
from clustersae.presentation.specialised import budget
from clustersae.presentation.words import percent, share

#: What the tables say, in the order in which they are shown; others follow.
ABOUT = {
    "comparisons": "Arms against their rivals, paired by layer and seed.",
    "layers": "Every layer of every arm against full per-layer training.",
    "cost": "Measured cost of every arm, and what A + K · T predicts.",
    "stream": "Which tokens were left out, and what they and the largest dimension carry.",
    "tasks": "What the model can do.",
    "circuits": "Circuits of every arm, by task, treatment of errors and ablation.",
    "features": "What latents mean, by arm.",
    "feature_meaning": "The same for every pair of layers.",
    "feature_coverage": "The same for every known factor of the text.",
    "feature_sweep": "How many rules hold on other layers, by how much of each must be left.",
    "probing": "How well do a few latents tell labels of tokens, by arm, number and label?",
    "correspondence": "Do latents of specialised SAEs correspond across layers?",
    "similarity": "Does a distance predict what an SAE of one layer loses on another?",
    "transfer": "The same for every pair of layers.",
    "transfer_partitions": "What the average layer would lose with the SAE of another layer of its"
    " cluster.",
    "layer_quality": "Every layer, seed and split of every arm.",
}
#: Longer tables are folded, and far longer ones left out: they are what figures are drawn from.
FOLDED_ROWS, MOST_ROWS = 24, 1000
#: Columns that fit a printed page.
PRINTED_COLUMNS = 15
#: What an arm's name says.
_OF_THE_ARM = (
    "partition",
    "variant",
    "method",
    "role",
    "count",
    "matched_count",
    "against_matched_count",
)


class Cell(NamedTuple):
    """A cell: what it says, what it is sorted by, and whether that is a number."""

    text: str
    key: str
    number: bool = False


class Table(NamedTuple):
    """A table to show.

    Attributes:
        name: of its file, without the ending.
        about: what it says, in a sentence; empty where nobody has said.
        head: names of the columns.
        rows: their cells.
        common: what is the same in every row, by column.
        n_rows: of the file: `rows` is empty where they are too many.
    """

    name: str
    about: str
    head: list[str]
    rows: list[list[Cell]]
    common: dict[str, str]
    n_rows: int

    @property
    def folded(self) -> bool:
        return len(self.rows) > FOLDED_ROWS

    @property
    def numeric(self) -> list[bool]:
        """Whether there are numbers in a column."""
        return [any(cell.number for cell in column) for column in zip(*self.rows)]

    @property
    def wide(self) -> bool:
        return len(self.head) > PRINTED_COLUMNS


def arranged(tables: Mapping[str, pd.DataFrame]) -> list[Table]:
    """All tables but `arms`, in the order of ABOUT; arms by what they are called."""
    names = labels(tables["arms"])
    rest = [name for name in tables if name not in ABOUT and name != "arms"]
    order = [*(name for name in ABOUT if name in tables), *rest]
    return [shown(name, tables[name], names) for name in order]


def labels(arms: pd.DataFrame) -> dict[str, str]:
    """Names of arms → what they are called, where no other arm is called so."""
    called = arms.set_index("arm", drop=False).apply(full_label, axis=1)
    return dict(called[~called.duplicated(keep=False)])


def overview(arms: pd.DataFrame) -> Table:
    """What a reader asks of every arm first, the best one on top, the others in order of cost."""
    names = labels(arms)
    ordered = arms.sort_values(["matched_count", "excess_fvu"], kind="stable")
    first = ordered[ordered["chosen"]]
    rows = pd.concat([first, ordered.drop(first.index)])
    columns = {
        "arm": [Cell(text := names.get(arm, arm), text) for arm in rows["arm"]],
        "SAEs": [_cell(count) for count in rows["count"]],
        "training": [_relative(budget(arm), share) for _, arm in rows.iterrows()],
        "cost": [_relative(value) for value in rows["cost_relative"]],
        "FVU": [_cell(value) for value in rows["fvu"]],
        "mean excess [95 %]": _excesses(rows, "excess_fvu"),
        "in the mean": _words(rows, "verdict"),
        "worst layer [95 %]": _excesses(rows, "excess_fvu_worst"),
        "in the worst layer": _words(rows, "verdict_worst"),
        "excess cross-entropy [95 %]": [
            _interval(row, "excess_ce_all") for _, row in rows.iterrows()
        ],
        "the same, bounded [95 %]": [
            _interval(row, "excess_ce_all_bounded") for _, row in rows.iterrows()
        ],
        "L0 of a layer": [_cell(value) for value in rows["l0"]],
        "L0 of a token": [_cell(value) for value in rows["l0_token"]],
        "L0 per token and layer": [_cell(value) for value in rows["l0_token_layer"]],
        "dead latents": [_relative(value) for value in rows["dead_fraction"]],
        "within margins": [_cell(bool(value)) for value in rows["within_margins"]],
        "dominated": [_cell(bool(value)) for value in rows["dominated"]],
    }
    cells = [list(row) for row in zip(*columns.values())]
    common = {
        name: _cell(rows[column].iloc[0]).text
        for name, column in (
            ("layers", "n_layers"),
            ("seeds", "n_seeds"),
            ("test tokens", "n_tokens"),
        )
    }
    return Table("arms", "", list(columns), cells, common, len(rows))


def shown(name: str, frame: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """A table with arms by the `names` that they have, intervals in the cells of what they are of.

    Columns without a value are left out.
    """
    if len(frame) > MOST_ROWS:
        return Table(name, ABOUT.get(name, ""), [], [], {}, len(frame))
    if "arm" in frame:
        frame = frame.drop(columns=[column for column in _OF_THE_ARM if column in frame])
    for column in {"arm", "against", "dominated_by"} & set(frame):
        frame = frame.assign(**{column: frame[column].map(lambda arm: names.get(arm, arm))})
    ends = {
        f"{column}{end}": column
        for column in frame
        for end in ("_low", "_high")
        if {f"{column}_low", f"{column}_high"} <= set(frame)
    }
    columns = [column for column in frame if column not in ends and frame[column].notna().any()]
    columns.sort(key=lambda column: column != "arm")
    whole = set(ends.values())
    cells = {
        column: [_interval(row, column) for row in frame.to_dict("records")]
        if column in whole
        else [_cell(value) for value in frame[column]]
        for column in columns
    }
    alike = {
        column: each[0].text
        for column, each in cells.items()
        if len(frame) > 1 and column != "arm" and len(set(each)) == 1
    }
    kept = [column for column in columns if column not in alike]
    return Table(
        name,
        ABOUT.get(name, ""),
        [_plain(column) + (" [95 %]" if column in whole else "") for column in kept],
        [list(row) for row in zip(*(cells[column] for column in kept))],
        {_plain(column): text for column, text in alike.items()},
        len(frame),
    )


def _plain(column: str) -> str:
    text = column.replace("_", " ")
    return text.replace("n ", "n\u00a0", 1) if text.startswith("n ") else text


def _excesses(rows: pd.DataFrame, column: str) -> list[Cell]:
    """Relative differences; none for full per-layer SAEs, which all others are relative to."""
    cells = []
    for _, row in rows.iterrows():
        if row["arm"] == PER_LAYER:
            cells.append(Cell("", "0", True))
            continue
        ends = [percent(row[f"{column}{end}"], True) for end in ("_low", "_high")]
        missing = pd.isna(row[f"{column}_low"])
        interval = "" if missing else f" [{ends[0].removesuffix(' %')} to {ends[1]}]"
        cells.append(Cell(percent(row[column], True) + interval, repr(float(row[column])), True))
    return cells


def _words(rows: pd.DataFrame, column: str) -> list[Cell]:
    return [
        Cell("", "") if arm == PER_LAYER else _cell(word)
        for arm, word in zip(rows["arm"], rows[column])
    ]


def _relative(value: float, words: Any = percent) -> Cell:
    return _cell(value) if pd.isna(value) else Cell(words(value), repr(float(value)), True)


def _interval(row: Mapping[str, Any] | pd.Series, column: str) -> Cell:
    cell = _cell(row[column])
    low, high = (_cell(row[f"{column}{end}"]).text for end in ("_low", "_high"))
    return cell._replace(text=f"{cell.text} [{low}, {high}]") if low and high else cell


def _cell(value: Any) -> Cell:
    """A value in at most four significant digits; nothing where there is none."""
    if isinstance(value, str):
        return Cell(value, value)
    if pd.isna(value):
        return Cell("", "")
    if isinstance(value, bool):
        return Cell(text := "yes" if value else "no", text)
    number = float(value)
    plain = abs(number) < 1e9 and (number.is_integer() or abs(number) >= 1000)
    text = f"{number:,.0f}" if plain else f"{number:.4g}".replace("e+", "e")
    return Cell(text.replace("-", "−"), repr(number), True)
