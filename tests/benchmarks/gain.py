"""Does the gain of specialising last as training grows? FVU over training, and what it tends to.

    python tests/benchmarks/gain.py results/gain results/gain-long docs/results/gain/stories260k.csv

after a run of the preset stories260k_gain, or of any experiment with per-layer and specialised SAEs
of several budgets; of several runs on the same activations, as with other learning rates, the last
one that has a training counts. Per seed, the mean log FVU over layers of specialised SAEs minus
that of per-layer SAEs of equal training is extrapolated by straight lines in the logarithm of
training; Student's t over seeds. The figure lies beside the table. Asserts nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from clustersae.presentation.style import (
    HIGHLIGHT,
    INK,
    canvas,
    conditions,
    log_scale,
    save,
    styled,
)
from clustersae.runtime.files import read_json
from clustersae.runtime.tensors import load_tensors
from clustersae.statistics.intervals import over_seeds

#: A doubling of training that gains less than this, relative, is called flat.
FLAT = 0.03
#: Activations per latent of Group-SAE (1 billion tokens, 12,288 latents).
RIVAL_PER_LATENT = 81_000


def losses(folder: Path) -> pd.DataFrame:
    """Mean log FVU over layers of the test split: per kind, training (of full) and seed.

    Of trainings that SAEs of both kinds have.
    """
    arms = pd.read_csv(folder / "tables" / "arms.csv").set_index("arm")
    quality = pd.read_csv(folder / "tables" / "layer_quality.csv", dtype={"cluster": str})
    quality = quality[quality["split"] == "test"]
    rows = []
    for (arm, seed), group in quality.groupby(["arm", "seed"]):
        role = arms.loc[arm, "role"]
        if role not in ("baseline", "equal-compute", "specialised"):
            continue
        rows.append(
            {
                "kind": "specialised" if role == "specialised" else "per-layer",
                "training": round(arms.loc[arm, "matched_count"] / arms.loc[arm, "n_layers"], 4),
                "seed": seed,
                "log_fvu": np.log(group["fvu"]).mean(),
                "dead_fraction": group["dead_fraction"].mean(),
            }
        )
    both = pd.DataFrame(rows).groupby("training").filter(lambda own: own["kind"].nunique() == 2)
    return both.reset_index(drop=True)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Per training: FVU of both kinds, their ratio, and what a doubling gained since the last."""
    wide = found.pivot(index="training", columns=["kind", "seed"], values="log_fvu")
    dead = found.groupby(["training", "kind"])["dead_fraction"].mean().unstack()
    rows = []
    before = None
    for training, row in wide.iterrows():
        out = {"training": training}
        for kind in ("per-layer", "specialised"):
            key = kind.replace("-", "_")
            for end, value in zip(
                ("", "_low", "_high"), over_seeds(row[kind].to_numpy()).interval()
            ):
                out[f"fvu_{key}{end}"] = np.exp(value)
            out[f"dead_{key}"] = dead.loc[training, kind]
            if before is not None:
                gained = row[kind].to_numpy() - wide.loc[before, kind].to_numpy()
                gained /= np.log2(training / before)
                for end, value in zip(("", "_low", "_high"), over_seeds(gained).interval()):
                    out[f"doubling_{key}{end}"] = np.expm1(value)
        ratio = row["specialised"].to_numpy() - row["per-layer"].to_numpy()
        for end, value in zip(("", "_low", "_high"), over_seeds(ratio).interval()):
            out[f"ratio{end}"] = np.expm1(value)
        rows.append(out)
        before = training
    return pd.DataFrame(rows)


def per_latent(folder: Path) -> float:
    """Activations per latent of full training."""
    base = [sae for sae in read_json(folder / "plan.json")["saes"] if sae["variant"] == "base"]
    weights = next(folder.glob("saes/base/*/seed-*/sae.safetensors"))
    return base[0]["training_tokens"] / load_tensors(weights)[0]["W_dec"].shape[0]


def extrapolated(found: pd.DataFrame, since: float, to: float) -> np.ndarray:
    """Log ratio at training `to` per seed, by a straight line in log training from `since` on."""
    slope, intercept = line(found, since)
    return intercept + slope * np.log2(to)


def line(found: pd.DataFrame, since: float) -> np.ndarray:
    """Slope per doubling and value at full training of that line, [2, n_seeds]."""
    wide = found.pivot(index="training", columns=["kind", "seed"], values="log_fvu")
    ratio = (wide["specialised"] - wide["per-layer"]).loc[since:]
    return np.polyfit(np.log2(ratio.index.to_numpy()), ratio.to_numpy(), 1)


def draw(table: pd.DataFrame, note: str, path: Path) -> None:
    with styled():
        last = table.iloc[-1]
        times = last["training"]
        when = "With full training" if times == 1 else f"At {times:g} times the training"
        title = f"{when} specialised SAEs have {100 * last['ratio']:+.1f} % FVU"
        figure = canvas(9.0, 3.6, title.replace("-", "−"), note)
        left, right = figure.subplots(1, 2)
        for kind, colour, marker in (("per_layer", INK, "o"), ("specialised", HIGHLIGHT, "*")):
            value = table[f"fvu_{kind}"]
            bars = [value - table[f"fvu_{kind}_low"], table[f"fvu_{kind}_high"] - value]
            left.errorbar(
                *(table["training"], value),
                yerr=bars,
                color=colour,
                marker=marker,
                ms=8 if marker == "*" else 4,
                label=kind.replace("_", "-"),
            )
        left.set_ylabel("FVU, geometric mean over layers")
        log_scale(left, "y", 6, lambda value: f"{value:g}")
        left.legend()
        bars = [table["ratio"] - table["ratio_low"], table["ratio_high"] - table["ratio"]]
        percent = [100 * each for each in bars]
        right.errorbar(
            table["training"], 100 * table["ratio"], yerr=percent, color=HIGHLIGHT, fmt="*-"
        )
        right.axhline(0, color=INK, lw=0.8)
        right.set(ylabel="specialised over per-layer\nof equal training, %")
        for axis in (left, right):
            axis.set_xlim(table["training"].min() / 1.2, table["training"].max() * 1.2)
            log_scale(axis, "x", 8, lambda value: f"{value:g}")
            axis.set_xlabel("training over that of full SAEs here")
        save(figure, None, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="results/MODEL, one or several")
    parser.add_argument("table", type=Path, help="its name is that of the model in the figure")
    given = parser.parse_args()
    given.table.parent.mkdir(parents=True, exist_ok=True)
    own = pd.concat([losses(run).assign(run=number) for number, run in enumerate(given.runs)])
    last = own.groupby("training")["run"].transform("max")
    found = own[own["run"] == last].drop(columns="run")
    table = summary(found)
    table.to_csv(given.table, index=False, float_format="%.5g")
    n_layers = read_json(given.runs[0] / "plan.json")["n_layers"]
    n_seeds = found["seed"].nunique()
    note = conditions(given.table.stem, n_layers, n_seeds, "bars: 95 % intervals over seeds")
    draw(table, note, given.table.with_suffix(".png"))
    print(table.to_string())
    full = per_latent(given.runs[0])
    print(f"full training is {full:.0f} activations per latent")
    for since in (table["training"].min(), table["training"].iloc[-3]):
        values = extrapolated(found, since, RIVAL_PER_LATENT / full)
        shown = [f"{100 * np.expm1(value):+.1f} %" for value in over_seeds(values).interval()]
        print(f"at {RIVAL_PER_LATENT} activations per latent, by points from {since:g} on: {shown}")
        slope, intercept = line(found, since)
        if (slope > 0).all():
            meet = [f"{2**value:.2g}" for value in over_seeds(-intercept / slope).interval()]
            print(f"the lines meet at {meet} times full training")
    flat = table.loc[table["doubling_per_layer"] > -FLAT, "training"]
    since = flat.min() if len(flat) else "nowhere"
    print(f"per-layer flat (a doubling gains < {FLAT:.0%}) from {since}")


if __name__ == "__main__":
    main()
