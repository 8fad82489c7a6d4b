"""A few numbers and words for each latent that fires: what the list shows, sorts and searches.

Columns of a piece, all of one length and ordered by latent:

    latent    its index
    density   share of tokens at which it fires, mean over the group's layers
    spread    exp of the entropy of P(layer), the effective number of layers
    profile   a digit per layer of the group: P(layer) over its largest value, 0 is none, 9 is most
    kept      of the layers that its rules could hold on besides their own, the share on which
              they do
    rule      balanced accuracy of its best rule on the rule's own layer
    judge     mean of a judge's scores on the layer that it was explained on
    factor    F1 of the known factor that it stands for best
    label     the judge's explanation, or its best rule, or tokens
    words     what else a search looks at: tokens at its peaks, tokens that it promotes, its factor
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from clustersae.browser.pieces import number
from clustersae.browser.reading import Rows

#: Tokens, clauses and promoted tokens in words and labels.
N_WORDS, N_CLAUSES, N_PROMOTED = 6, 3, 3
#: A rule explains a latent from here on (`features.meaning`).
EXPLAINED = 0.75


def index_columns(layers: list[int], rows: Rows) -> dict[str, list[Any]]:
    """The piece of one group.

    Args:
        layers: of the group, ascending.
    """
    latents, rules = rows.latents, rows.rules
    peaks = {latent: peak_words(tokens) for latent, tokens in rows.contexts.peaks()}
    promoted = promoted_at_home(rows)
    live = latents[latents["firing_rate"] > 0].sort_values("latent")
    names = live["latent"].tolist()
    shares = rows.by_layer.pivot(index="latent", columns="layer", values="p_layer").loc[
        names, layers
    ]
    best = best_rules(rules, layers)
    kept = kept_shares(rules, layers)
    factors = best_factors(rows.coverage)
    scores, explanations = judged(rows.judge)
    clauses = {latent: clause_text(rule) for latent, rule in best.items()}
    columns: dict[str, list[Any]] = {
        "latent": names,
        "density": [number(value) for value in live["firing_rate"]],
        "spread": [number(value) for value in live["effective_layers"]],
        "profile": [profile(row) for row in shares.to_numpy()],
        "kept": [number(kept.get(latent, np.nan)) for latent in names],
        "rule": [number(best[latent]["own"] if latent in best else np.nan) for latent in names],
        "judge": [number(scores.get(latent, np.nan)) for latent in names],
        "factor": [number(factors.get(latent, ("", np.nan))[1]) for latent in names],
        "label": [],
        "words": [],
    }
    for latent in names:
        own = clauses.get(latent) or " · ".join(map(str.strip, peaks.get(latent, [])))
        columns["label"].append(explanations.get(latent) or own)
        more = [clauses.get(latent, ""), *peaks.get(latent, []), *promoted.get(latent, [])]
        columns["words"].append(" ".join([*more, factors.get(latent, ("", 0))[0]]).strip())
    return columns


def promoted_at_home(rows: Rows) -> dict[int, list[str]]:
    """By latent, tokens that it promotes on the layer where it is most active."""
    directions = rows.directions
    home = directions[directions["layer"] == directions["latent"].map(rows.homes)]
    return {
        latent: list(tokens[:N_PROMOTED])
        for latent, tokens in zip(home["latent"], home["promoted"])
    }


def profile(shares: np.ndarray) -> str:
    """P(layer) [n_layers] of one latent in digits; what is not nothing is at least 1."""
    return "".join(str(digit) for digit in np.ceil(9 * shares / shares.max()).astype(int))


def best_rules(rules: pd.DataFrame, layers: list[int]) -> dict[int, dict[str, Any]]:
    """By latent the rule with the best accuracy on its own layer, which is added as `own`."""
    found: dict[int, dict[str, Any]] = {}
    for rule in rules.to_dict("records"):
        own = float(rule["accuracy"][layers.index(rule["layer"])])
        if len(rule["tokens"]) and own > found.get(rule["latent"], {"own": 0.0})["own"]:
            found[rule["latent"]] = {**rule, "own": own}
    return found


def clause_text(rule: Mapping[str, Any]) -> str:
    """The first clauses of a rule: "the", or "of the" for "the" after "of"."""
    pairs = zip(rule["previous"], rule["tokens"])
    clauses = [(f"{before.strip()} {token.strip()}" if before else token.strip())
               for before, token in pairs]  # fmt: skip
    more = " …" if len(clauses) > N_CLAUSES else ""
    return " · ".join(clauses[:N_CLAUSES]) + more


def kept_shares(rules: pd.DataFrame, layers: list[int]) -> dict[int, float]:
    """Of the other layers on which rules that explain their latent could be told, the share on
    which they hold, by latent; nothing where there are none."""
    counts: dict[int, list[int]] = {}
    for rule in rules.to_dict("records"):
        place = layers.index(rule["layer"])
        accuracy = np.asarray(rule["accuracy"])
        if accuracy[place] >= EXPLAINED:
            told = ~np.isnan(accuracy)
            told[place] = False
            count = counts.setdefault(rule["latent"], [0, 0])
            count[0] += int((told & np.asarray(rule["holds"])).sum())
            count[1] += int(told.sum())
    return {latent: held / of for latent, (held, of) in counts.items() if of}


def best_factors(coverage: pd.DataFrame) -> dict[int, tuple[str, float]]:
    """By latent the factor that it stands for best, "factor = value", and its F1."""
    rows = coverage.sort_values("f1", kind="stable")
    return {
        latent: (f"{factor} = {value}", f1)
        for latent, factor, value, f1 in rows[["latent", "factor", "value", "f1"]].itertuples(
            index=False
        )
    }


def judged(scores: pd.DataFrame) -> tuple[dict[int, float], dict[int, str]]:
    """By latent a judge's mean score on the layer that it was explained on, and the explanation."""
    own = scores[scores["layer"] == scores["explained_on"]]
    means = own.groupby("latent")["balanced_accuracy"].mean().dropna()
    said = scores.dropna(subset=["explanation"]).drop_duplicates("latent")
    return means.to_dict(), dict(zip(said["latent"], said["explanation"]))


def peak_words(tokens: Iterable[str]) -> list[str]:
    """The first different ones of the tokens at peaks."""
    return list(dict.fromkeys(tokens))[:N_WORDS]
