"""Does sharing, then specialising pay for each architecture? One table and figure of finished runs.

    python tests/benchmarks/architectures.py results docs/results/architectures

after a run of the preset stories260k_architectures: puts the rows of its `arms.csv` and
`comparisons.csv` together. Intervals are those of the runs' own tables. Asserts nothing.
"""

import argparse
from pathlib import Path

import pandas as pd

from clustersae.experiment.architectures import ARCHITECTURES
from clustersae.presentation.style import GREY, HIGHLIGHT, INK

ENDS = ("", "_low", "_high")
#: What a bar of the figure stands for: columns of the table, name, colour.
SHOWN = {
    "mean_vs_equal": ("against per-layer SAEs of equal training, mean", HIGHLIGHT),
    "worst_vs_equal": ("the same, worst layer", GREY),
    "mean_vs_full": ("against per-layer SAEs in full, mean", INK),
}


def rows_of(name: str, folder: Path) -> pd.DataFrame:
    """The arms of one architecture, each beside full per-layer SAEs and those of equal training."""
    arms = pd.read_csv(folder / "arms.csv")
    comparisons = pd.read_csv(folder / "comparisons.csv")
    equal = comparisons[comparisons["against"] == "per-layer (tokens-1of2)"].set_index("arm")
    table = pd.DataFrame(
        {
            "architecture": name,
            "arm": arms["arm"],
            "training": arms["matched_count"] / arms["n_layers"],
            "n_seeds": arms["n_seeds"],
            "l0": arms["l0"],
            "dead_fraction": arms["dead_fraction"],
            "delta_ce_all": arms["delta_ce_all"],
            **{f"fvu{end}": arms[f"fvu{end}"] for end in ENDS},
            **{f"mean_vs_full{end}": arms[f"excess_fvu{end}"] for end in ENDS},
            **{f"worst_vs_full{end}": arms[f"excess_fvu_worst{end}"] for end in ENDS},
        }
    )
    for word in ("verdict", "verdict_worst"):
        table[f"{word}_vs_equal"] = arms["arm"].map(equal[word])
    for ours, theirs in (("mean", "excess_fvu"), ("worst", "excess_fvu_worst")):
        for end in ENDS:
            table[f"{ours}_vs_equal{end}"] = arms["arm"].map(equal[f"{theirs}{end}"])
    return table


def draw(table: pd.DataFrame, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = table[table["arm"].str.contains("@")].reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for number, (column, (label, colour)) in enumerate(SHOWN.items()):
        middle = 100 * chosen[column]
        ends = [middle - 100 * chosen[f"{column}_low"], 100 * chosen[f"{column}_high"] - middle]
        places = chosen.index + 0.2 * (number - 1)
        axis.errorbar(middle, places, xerr=ends, fmt="o", ms=4, color=colour, label=label)
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(chosen.index, [ARCHITECTURES[name].title for name in chosen["architecture"]])
    axis.invert_yaxis()
    axis.set_xlabel("excess FVU of specialised SAEs at half of the training, % (95 % intervals)")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    found = {name: given.results / name / "tables" for name in ARCHITECTURES}
    parts = [rows_of(name, at) for name, at in found.items() if (at / "arms.csv").exists()]
    table = pd.concat(parts, ignore_index=True)
    table.to_csv(given.folder / "architectures.csv", index=False, float_format="%.5g")
    draw(table, given.folder / "architectures.png")
    print(table.to_string())


if __name__ == "__main__":
    main()
