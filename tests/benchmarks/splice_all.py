"""Cross-entropy with the SAEs of all layers in place, on more text than a table has.

    python tests/benchmarks/splice_all.py results/MODEL out.csv --tokens 20000 --arms ARM ARM …

Tables splice every layer alone and all of them at once on the same few tokens. This splices all at
once only, a fifteenth of the work for fifteen layers. A row for every two arms: how much the
cross-entropy of the next token rises with the first (nats), and how far that is above the rise with
the second; Student's t over seeds, all of which read the same text. Once as the SAEs are, once with
reconstructions that are no longer than what they replace; a figure beside the table shows both.
Asserts nothing.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from clustersae.activations.mask import load_limits
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.presentation.style import (
    HIGHLIGHT,
    INK,
    canvas,
    conditions,
    log_scale,
    save,
    styled,
)
from clustersae.quality.language_model import read_evaluation_tokens
from clustersae.quality.splice import measure, splice_of
from clustersae.run import Run
from clustersae.statistics.intervals import cells, over_seeds


@torch.no_grad()
def rises(
    run: Run, arms: list[str], n_tokens: int, batch_rows: int
) -> tuple[dict[bool, pd.DataFrame], int]:
    """Bounded or not → rise of cross-entropy per seed (rows) and arm (columns), in nats.

    Returns:
        and the number of positions.
    """
    stream = ResidualStream(load_model(run.model_folder, run.description), run.description)
    limits = load_limits(run.folder / "activations/norms.safetensors", run.description.fingerprint)
    tokens = run.model_folder.parent / "corpus/test.safetensors"
    text = read_evaluation_tokens(tokens, n_tokens, stream, len(limits.layers))
    seeds = run.plan.seeds
    splices = []
    for bounded in (False, True):
        for arm in arms:
            for seed in seeds:
                saes = {id(sae): sae for sae in run.saes(arm, seed).values()}
                splices.append(splice_of([*saes.values()], bounded=bounded))
    clean, effects, n_scored = measure(stream, text, splices, batch_rows, limits, divergence=False)
    shape = 2, len(arms), len(seeds)
    found = np.reshape([effect.ce - clean for effect in effects], shape)
    return {
        bounded: pd.DataFrame(each.T, index=list(seeds), columns=arms)
        for bounded, each in zip((False, True), found)
    }, n_scored


def draw(table: pd.DataFrame, run: Run, path: Path) -> None:
    """The rise over the training of per-layer and of specialised SAEs, as they are and bounded."""
    arms = {arm.name: arm for arm in run.plan.arms}
    rows = table.drop_duplicates(["arm", "bounded"])
    with styled():
        note = conditions(
            run.folder.name,
            run.plan.n_layers,
            len(run.plan.seeds),
            f"{int(rows['n_tokens'].max()):,} tokens",
            "bars: 95 % intervals over seeds",
        )
        figure = canvas(*(6.0, 4.0), "Cross-entropy with the SAEs of all layers in place", note)
        axis = figure.subplots()
        for role, colour, marker in (("per-layer", INK, "o"), ("specialised", HIGHLIGHT, "*")):
            for bounded, line in ((False, ":"), (True, "-")):
                chosen = rows["arm"].map(lambda arm: arms[arm].method) == role
                part = rows[chosen & (rows["bounded"] == bounded)].copy()
                part["budget"] = (
                    part["arm"].map(lambda arm: arms[arm].matched_count) / run.plan.n_layers
                )
                part = part.sort_values("budget")
                value = part["delta_ce_all"]
                axis.errorbar(
                    *(part["budget"], value),
                    yerr=[value - part["delta_ce_all_low"], part["delta_ce_all_high"] - value],
                    color=colour,
                    linestyle=line,
                    marker=marker,
                    ms=9 if marker == "*" else 5,
                    mfc=colour if bounded else "white",
                    label=f"{role}, {'bounded' if bounded else 'as they are'}",
                )
        axis.set(ylim=(0, None), ylabel="rise of cross-entropy (nats per token)")
        axis.set_xlabel("training over that of full per-layer SAEs")
        log_scale(axis, "x", 6, lambda value: f"{100 * value:g} %")
        axis.legend()
        save(figure, None, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--arms", nargs="+", required=True, help="names, as in arms.csv")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--batch-rows", type=int, default=8)
    given = parser.parse_args()
    run = Run(given.run)
    found, n_scored = rises(run, given.arms, given.tokens, given.batch_rows)
    rows = []
    for bounded, rise in found.items():
        for against, arm in [("", given.arms[0]), *combinations(given.arms, 2)]:
            row = {"arm": arm, "against": against, "bounded": bounded, "n_tokens": n_scored}
            row |= cells("delta_ce_all", over_seeds(rise[arm].to_numpy()).interval())
            if against:
                above = rise[arm] - rise[against]
                row |= cells("above", over_seeds(above.to_numpy()).interval())
            rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(given.table, index=False, float_format="%.5g")
    draw(table, run, given.table.with_suffix(".png"))
    print(table.to_string())


if __name__ == "__main__":
    main()
