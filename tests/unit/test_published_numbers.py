"""The numbers of the README and of published verdicts stand in the tables beside them."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clustersae.presentation.specialised import at_equal_training
from clustersae.presentation.tables import read_file

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "docs" / "results"
VERDICTS = sorted(RESULTS.glob("*/verdict.txt"))
#: Tables that a verdict may speak of; large ones of single layers would hold any number.
TABLES = (
    *("arms", "comparisons", "cost", "features", "feature_coverage", "circuits", "tasks"),
    *("stream", "correspondence"),
)
NUMBER = r"[+−]?\d[\d,]*(?:\.\d+)?"
#: An estimate and its interval: "+4.7 % [−3.2 to +13.2 %]", "+5.4 %, 95 % interval 0 % to +13 %".
WITH_INTERVAL = re.compile(
    rf"({NUMBER})( %)?\s(?:nats )?\[({NUMBER})(?: %)?(?:\sto\s|, )({NUMBER})( %)?\]"
    rf"|({NUMBER})( %)?,\s95\s%\sinterval\s({NUMBER})(?: %)?\sto\s({NUMBER})( %)?"
)
LONE = re.compile(rf"(?<![\w.@])({NUMBER})( %)?(?![\w.]*\d)")
#: Not measured: confidence and margins, names of layers, of tasks and of arms.
SETTINGS = re.compile(
    r"95 % interval|\[95 %\]|margins 5/10 %|95\s%\sintervals|5 % more mean FVU and 10 %|"
    r"within\s\d+\s%|loses\sat\smost\s\d+\s%|\((?:complete|average) linkage: [^)]*\)|"
    r"arms? \d|dominated by \d|layer \d+|^\d (?=\w)",
    re.MULTILINE,
)


@cache
def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {
        name: read_file(folder / f"{name}.csv")
        for name in TABLES
        if (folder / f"{name}.csv").is_file()
    }


def says(text: str, values: np.ndarray, scale: float) -> np.ndarray:
    """Which values the text may stand for: those that it is, rounded as it is."""
    wanted = float(text.replace("−", "-").replace(",", ""))
    half = 0.5 * 10.0 ** -len(text.partition(".")[2]) * (1 + 1e-6)
    return np.abs(values * scale - wanted) <= half


def intervals(folder: Path, text: str) -> Iterator[str]:
    """The estimates with an interval that no row of a table has, with ends of one column."""
    for match in WITH_INTERVAL.finditer(text):
        groups = match.groups()
        value, percent, low, high, last = groups[:5] if match[1] else groups[5:]
        scale = 100 if percent or last else 1
        if not any(
            (
                says(value, frame[name].to_numpy(float), scale)
                & says(low, frame[f"{name}_low"].to_numpy(float), scale)
                & says(high, frame[f"{name}_high"].to_numpy(float), scale)
            ).any()
            for frame in tables(folder).values()
            for name in frame
            if f"{name}_low" in frame
        ):
            yield match[0]


def lone(folder: Path, text: str) -> Iterator[str]:
    """The other numbers that no cell of a table has."""
    text = SETTINGS.sub(" ", WITH_INTERVAL.sub(" ", text))
    cells = np.concatenate(
        [frame.select_dtypes("number").to_numpy(float).ravel() for frame in tables(folder).values()]
    )
    # A budget is the training of an arm over that of full per-layer SAEs.
    arms = tables(folder)["arms"]
    cells = np.concatenate([cells, arms["matched_count"] / arms["count"].max()])
    for value, percent in LONE.findall(text):
        scale = 100 if percent else 1
        signless = value if value[0] in "+−" else value.lstrip("+−")
        if not (says(signless, cells, scale) | says(signless, np.abs(cells), scale)).any():
            yield value + percent


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda path: path.parent.name)
def test_every_number_of_a_published_verdict_stands_in_its_tables(verdict):
    text = verdict.read_text(encoding="utf-8")
    assert WITH_INTERVAL.search(text)
    assert list(intervals(verdict.parent, text)) == []
    assert list(lone(verdict.parent, text)) == []


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda path: path.parent.name)
def test_another_number_in_a_verdict_would_be_noticed(verdict):
    """Each estimate with an interval, three more in its last place."""
    text = verdict.read_text(encoding="utf-8")
    found = list(WITH_INTERVAL.finditer(text))
    noticed = 0
    for match in found:
        place = 1 if match[1] else 6
        other = match[place][:-1] + str((int(match[place][-1]) + 3) % 10)
        wrong = match[0].replace(match[place], other, 1)
        noticed += bool(list(intervals(verdict.parent, wrong)))
    assert noticed == len(found) > 0


def claims() -> Iterator[str]:
    """What the README says of results outside the verdict, made from the tables."""

    def equal_training(name: str) -> pd.DataFrame:
        """Specialised SAEs against per-layer ones of equal training, by arm."""
        return at_equal_training(tables(RESULTS / name)["comparisons"]).set_index("arm")

    def bounds(row: pd.Series, name: str, scale: float, form: str) -> str:
        ends = [f"{scale * row[f'{name}{end}']:{form}}" for end in ("", "_low", "_high")]
        unit = " %" if scale == 100 else ""
        return f"{ends[0]}{unit} [{ends[1]}, {ends[2]}]".replace("-", "−")

    def at(share: float, name: str) -> pd.Series:
        """Fine-tuned from one SAE, with that share of the training."""
        arms = tables(RESULTS / name)["arms"]
        arms = arms[np.isclose(arms["matched_count"] / arms["n_layers"], share, rtol=0.01)]
        return arms.set_index("partition").loc["per-layer@single"]

    six = pd.read_csv(RESULTS / "toy-english" / "language_models.csv").set_index("against")
    six = six[six["arm"].str.contains("@")]
    beside = pd.read_csv(RESULTS / "toy-english" / "language_models_arms.csv").set_index("arm")
    equal, full = six.loc["per-layer (tokens-1of2)"], six.loc["per-layer"]
    assert equal["verdict_mean"] == "better"
    assert full["verdict_mean"] == "equivalent"
    cost = bounds(beside.loc[full["arm"]], "excess_fvu_equal_seconds", 100, "+.1f")
    worst = f"worst layer *worse*: {bounds(full, 'excess_fvu_worst', 100, '+.1f')}"
    assert full["verdict_worst"] == "worse"
    yield f"|{bounds(equal, 'excess_fvu', 100, '+.1f')}|{cost}|50 % of the training; {worst}|"
    for name, needed in (("shakespeare", 0.6), ("stories260k", 0.8), ("smollm2", None)):
        row = at(0.4, name)
        assert row["verdict_equal_seconds"] == "better"
        equal = equal_training(name).loc[row["arm"]]
        assert equal["verdict"] == "better"
        cost = bounds(row, "excess_fvu_equal_seconds", 100, "+.1f")
        yield f"|{bounds(equal, 'excess_fvu', 100, '+.1f')}|{cost}"
        if needed is None:
            yield f"|more than 40 % ({100 * row['excess_fvu']:+.1f} %)|"
        else:
            enough = at(needed, name)
            assert enough["within_margins"]
            yield f"|{100 * needed:.0f} %, {100 * enough['cost_relative']:.0f} % of the cost|"
    charged = pd.read_csv(RESULTS / "stories260k" / "with_validation.csv").set_index("arm")
    assert charged.loc[at(0.4, "stories260k")["arm"], "verdict_equal_seconds"] == "equivalent"
    yield "with 40 % of the training (six models: 50 %)"
    short, long = (
        100 * equal_training("smollm2").loc[at(share, "smollm2")["arm"], "excess_fvu"]
        for share in (0.2, 1)
    )
    dear = 100 * at(0.2, "smollm2")["excess_fvu_equal_seconds"]
    said = f"{short:+.1f} % with 20 % of it (equal cost: {dear:+.1f} %), {long:+.1f} % with all"
    yield said.replace("-", "−")
    gain = pd.read_csv(RESULTS / "gain" / "stories260k.csv").set_index("training")
    assert gain["doubling_per_layer"].iloc[-1] > -0.03  # flat
    assert gain["doubling_per_layer"].iloc[-2] < -0.03
    said = f"stories260k {100 * gain['ratio'].iloc[-1]:+.1f} % at {gain.index[-1]:.0f} times"
    yield said.replace("-", "−")
    little = at(0.1, "stories260k")
    assert little["verdict_equal_seconds"] == "worse"
    yield f"10 %, equal cost: {100 * little['excess_fvu_equal_seconds']:+.1f} %"
    yield from of_all_layers_at_once(bounds)

    clustered = tables(RESULTS / "smollm2")["comparisons"].set_index(["arm", "against"])
    row = clustered.loc[("complete-3", "even-3")]
    yield f"three: {bounds(row, 'excess_fvu', 100, '.1f')} worse"
    by_distance = pd.read_csv(RESULTS / "smollm2" / "distances.csv")
    by_runs = by_distance.loc[by_distance["clusters_by"] == "angular_centred", "vs_even"].dropna()
    assert by_runs.min() > -0.0105
    assert by_runs.max() > 0.1  # "hardly beat even runs"

    demo = tables(RESULTS / "toy-english")
    arms = demo["arms"].set_index("arm")
    specialised = arms.index[arms["role"] == "specialised"][0]
    narrower = next(each for each in six.index if "narrower" in each)
    yield f"better rival ({bounds(six.loc[narrower], 'excess_fvu', 100, '+.1f')})"
    dead = 100 * arms["dead_fraction"]
    yield f"({dead[specialised]:.0f} against {dead['per-layer']:.0f} %)"


def of_all_layers_at_once(bounds: Callable[..., str]) -> Iterator[str]:
    """Cross-entropy above that of full per-layer SAEs, as they are and bounded."""
    table = pd.read_csv(RESULTS / "smollm2" / "splice_all.csv")
    table = table[table["against"] == "per-layer"].set_index(["arm", "bounded"])
    above = {key: bounds(row, "above", 1, "+.2f") for key, row in table.iterrows()}
    arms = tables(RESULTS / "smollm2")["arms"].set_index("arm")
    budget = (arms["matched_count"] / arms["n_layers"]).round(3)
    special, plain = (
        [
            next(arm for arm in arms.index[(budget - share).abs() < 0.005] if start in arm)
            for share in shares
        ]
        for start, shares in (("per-layer@s", (0.2, 0.4, 1)), ("per-layer (", (0.2, 0.4)))
    )
    yield "|20 % of the training|40 %|100 %|"
    yield f"|fine-tuned|{'|'.join(above[arm, False] for arm in special)}|"
    yield f"|per-layer|{'|'.join(above[arm, False] for arm in plain)}|0|"
    yield f"|fine-tuned, both shortened|{'|'.join(above[arm, True] for arm in special)}|"


def test_the_readme_says_of_results_what_tables_and_verdict_say_and_no_other_number():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    said = re.search(r"## The answer\n(.*?)\n## ", readme, re.DOTALL)[1]
    verdict = re.search(r"<!-- verdict -->\n```\n(.*?)```\n<!-- /verdict -->", said, re.DOTALL)
    assert verdict[1] == (RESULTS / "toy-english" / "verdict.txt").read_text(encoding="utf-8")
    rest = " ".join(said.replace(verdict[0], "").split())
    for claim in claims():
        assert claim in rest
        rest = rest.replace(claim, "")
    for name in (
        "SmolLM2-135M",
        "(4-bit weights)",
        "SmolLM2",
        "smollm2",
        "stories260k",
        "brackets: 95 %",
    ):
        rest = rest.replace(name, "")
    assert re.findall(r"\d+", rest) == []
