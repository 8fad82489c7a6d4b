"""What the arms gain over several language models: one number of each, Student's t over models.

    python tests/benchmarks/language_models.py results/toy-{1,2,3,4,5,6} \
        docs/results/toy-english/language_models.csv

after a run of the preset toy_english_models, or of other models of one population with the same
arms. Intervals of one run are over SAE seeds: what other seeds would give for that language model.
These are over language models: what another one would give. Asserts nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from clustersae.statistics.equivalence import word
from clustersae.statistics.intervals import Estimate, cells, over_seeds

PAIR = ["arm", "against"]
#: Those of the configuration, `arms.margins`, by default.
MARGINS = {"mean": 0.05, "worst": 0.1}


def relative(excesses: np.ndarray) -> Estimate:
    """Of relative excesses [n_models]: the mean of their logarithms."""
    return over_seeds(np.log1p(excesses))._replace(is_log=True)


def over_models(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row for each comparison that all models have, in the order of the first model."""
    rows = []
    for key, found in pairs.groupby(PAIR, sort=False):
        if len(found) < pairs["model"].nunique():
            continue
        row = dict(zip(PAIR, key)) | {"n_models": len(found), "n_seeds": found["n_seeds"].min()}
        for name, margin in (("excess_fvu", "mean"), ("excess_fvu_worst", "worst")):
            values = found[name].to_numpy()
            estimate = relative(values)
            row |= cells(name, estimate.interval())
            row |= {f"{name}_least": values.min(), f"{name}_most": values.max()}
            row[f"verdict_{margin}"] = word(estimate, MARGINS[margin])
        rows.append(row)
    return pd.DataFrame(rows)


def of_arms(arms: pd.DataFrame) -> pd.DataFrame:
    """Of every arm, nats above full per-layer SAEs with all layers in place, plain and bounded; and
    excess FVU over per-layer SAEs of the same measured cost.
    """
    rows = []
    for arm, found in arms.dropna(subset="excess_ce_all").groupby("arm", sort=False):
        row = {"arm": arm, "n_models": len(found)}
        for name in ("excess_ce_all", "excess_ce_all_bounded"):
            row |= cells(name, over_seeds(found[name].to_numpy()).interval())
        name = "excess_fvu_equal_seconds"
        if found[name].notna().all():
            row |= cells(name, relative(found[name].to_numpy()).interval())
        rows.append(row)
    return pd.DataFrame(rows)


def read(runs: list[Path], table: str) -> pd.DataFrame:
    """The same table of every run, with a column `model`."""
    return pd.concat(
        pd.read_csv(run / "tables" / f"{table}.csv").assign(model=run.name) for run in runs
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="results/MODEL, two or more")
    parser.add_argument("table", type=Path, help="of comparisons; NAME_arms.csv beside it")
    given = parser.parse_args()
    pairs = over_models(read(given.runs, "comparisons"))
    arms = of_arms(read(given.runs, "arms"))
    pairs.to_csv(given.table, index=False, float_format="%.5g")
    beside = given.table.with_name(f"{given.table.stem}_arms.csv")
    arms.to_csv(beside, index=False, float_format="%.5g")
    print(pairs.to_string(), arms.to_string(), sep="\n")


if __name__ == "__main__":
    main()
