"""Quality against sparsity of shared, specialised and per-layer SAEs: finished runs at several k.

    python tests/benchmarks/frontier.py results docs/results/frontier

after a run of the preset stories260k_frontier: puts the rows of its tables together and draws them.
Intervals are those of the runs' own tables. Asserts nothing.
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from clustersae.presentation.style import MARKERS, METHOD_COLOURS, canvas, conditions, save, styled

KS = (4, 8, 16, 32)
#: What is drawn: the role and the training of an arm, its look, and its name.
SHOWN = {
    ("baseline", 1.0): ("per-layer", "per-layer, full training"),
    ("equal-compute", 0.5): ("tokens", "per-layer, half of it"),
    ("specialised", 0.5): ("specialised", "specialised from 1, half of it"),
    ("main", 0.2): ("single", "1 shared, a fifth of it"),
}
PANELS = {"fvu": "FVU, mean over layers", "ce_recovered_mean": "cross-entropy recovered"}


def table_of(results: Path) -> pd.DataFrame:
    """The arms of every k, each beside full per-layer SAEs and those of equal training."""
    parts = []
    for k in KS:
        folder = results / f"k{k}" / "tables"
        arms = pd.read_csv(folder / "arms.csv")
        comparisons = pd.read_csv(folder / "comparisons.csv")
        equal = comparisons[comparisons["against"] == "per-layer (tokens-1of2)"].set_index("arm")
        part = arms[["arm", "role", "n_seeds", "l0", "dead_fraction"]].copy()
        part.insert(0, "k", k)
        part["training"] = arms["matched_count"] / arms["n_layers"]
        for name in ("fvu", "delta_ce", "excess_fvu"):
            for end in ("", "_low", "_high"):
                part[name + end] = arms[name + end]
        part["ce_recovered_mean"] = arms["ce_recovered_mean"]
        for end in ("", "_low", "_high"):
            part[f"excess_fvu_equal{end}"] = part["arm"].map(equal[f"excess_fvu{end}"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame, folder: Path) -> None:
    with styled():
        note = conditions(
            "stories260k", 5, int(table["n_seeds"].max()), "one layer spliced at a time"
        )
        gains = -100 * table.loc[table["role"] == "specialised", "excess_fvu_equal"]
        title = (
            f"At every sparsity specialised SAEs have {gains.min():.0f} to {gains.max():.0f} % less"
            " error than per-layer ones of equal training"
        )
        figure = canvas(9.0, 3.6, title, f"{note} · bars: 95 % intervals over seeds")
        axes = figure.subplots(1, 2)
        for axis, (column, name) in zip(axes, PANELS.items()):
            for (role, training), (kind, _) in SHOWN.items():
                rows = table[(table["role"] == role) & (table["training"].round(3) == training)]
                low, high = (rows.get(f"{column}{end}", rows[column]) for end in ("_low", "_high"))
                axis.errorbar(
                    *(rows["l0"], rows[column]),
                    yerr=[rows[column] - low, high - rows[column]],
                    color=METHOD_COLOURS[kind],
                    marker=MARKERS[kind],
                    ms=5,
                    lw=1.2,
                )
            axis.set(xscale="log", xlabel="L0", ylabel=name)
            axis.set_xticks(KS, [str(k) for k in KS])
            axis.minorticks_off()
        axes[0].set_yscale("log")
        axes[0].set_yticks([0.03, 0.05, 0.1, 0.2, 0.3], ["0.03", "0.05", "0.1", "0.2", "0.3"])
        axes[0].yaxis.set_minor_locator(NullLocator())
        handles = [
            Line2D([], [], color=METHOD_COLOURS[kind], marker=MARKERS[kind], ms=5, label=label)
            for kind, label in SHOWN.values()
        ]
        axes[1].legend(handles=handles, loc="lower right")
        save(figure, None, folder / "frontier.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    table = table_of(given.results)
    table.to_csv(given.folder / "frontier.csv", index=False, float_format="%.5g")
    draw(table, given.folder)
    print(table.to_string())


if __name__ == "__main__":
    main()
