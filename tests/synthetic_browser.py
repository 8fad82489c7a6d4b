"""A finished run whose latents can be looked through, invented: two layers, any number of latents.

Shared are the SAE `0-1` before specialising (the root) and, from it, one for each layer (the
family); there are full per-layer SAEs besides. Latent i of the root fires on layer 0 if i is even,
else on both; all are told by the rule `word{i}`, but for those below.

    TWIN       fires on both layers, is `zebra` after `the` on layer 0 and `lion` on layer 1, where
               neither holds; in the family it is `zebra` on both
    HOSTILE    speaks of tokens that would run as code, or turn text around, if they could
    GONE       fires in the root alone
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_browser
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from plan_settings import plan_settings

from clustersae.browser.directions import SCHEMA
from clustersae.browser.reading import Measured
from clustersae.experiment.plan import BROWSED, Plan
from clustersae.experiment.planning import make_plan
from clustersae.features.contexts import SCHEMA as CONTEXTS
from clustersae.presentation.tables import write_table

TWIN, HOSTILE, GONE = 3, 5, 7
LAYERS = (0, 1)
SCALE = (1 / 512, 3.0)  # of the layers
EVIL = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\u202egnp.exe\u202c",
    "\u2028alert(3)\u2029",
    "__proto__",
    "${alert(4)}`\"'\\",
    "\x00\x1b[31m\ufeff",
    "👩\u200d🚀 ﷽ Z͑ͫ̓ͪ̂ͫ̽͏",
    "javascript:alert(5)",
)

_PARTITIONS = {
    "n_layers": 2,
    "partitions": {
        "single": {"method": "single", "clusters": ["0-1"]},
        "per-layer": {"method": "per-layer", "clusters": ["0", "1"]},
    },
}
_SETTINGS = plan_settings([4, 5], specialised=[{"from": 1, "budgets": [0.5]}])


def make_invented_plan() -> Plan:
    return make_plan(_PARTITIONS, _SETTINGS)


class Run:
    """Writes everything that `scripts/build_browser.py` reads, and has it make the page.

    Args:
        n_shared, n_alone: latents of the root, of which the family has as many, and of each of
            the two per-layer SAEs.
        judged: whether a judge was asked about HOSTILE.
    """

    def __init__(self, folder: Path, n_shared: int = 12, n_alone: int = 4, judged: bool = False):
        self.folder, self.plan = folder, make_invented_plan()
        self.n_shared, self.n_alone = n_shared, n_alone
        self.directions = folder / "directions.parquet"
        self.judge = [self._write_judge()] if judged else []
        self.measured = {}
        directions: list[dict[str, Any]] = []
        for pair in self.plan.browsed_arms(list(BROWSED)):
            label = dict(zip(("variant", "partition"), pair))
            groups = self._groups(pair)
            place = folder / "-".join(pair)
            place.mkdir(parents=True)
            self.measured[pair] = self._write_features(place, label, groups)
            for name, (layers, size) in groups.items():
                directions += _directions({**label, "group": name}, layers, size)
        pq.write_table(pa.Table.from_pylist(directions, SCHEMA), self.directions)

    @property
    def page(self) -> Path:
        return self.folder / "browser/index.html"

    def build(self, **more: Any) -> Path:
        """Make the page; its path."""
        arguments = {
            **{"model": "invented", "plan": self.plan, "measured": self.measured},
            **{"directions": self.directions, "judge": self.judge, "kinds": list(BROWSED)},
            **{"folder": self.page.parent, "n_contexts": 4},
        }
        build_browser.main(**{**arguments, **more})
        return self.page

    def _groups(self, pair: tuple[str, str]) -> dict[str, tuple[tuple[int, ...], int]]:
        """Layers and number of latents of every group of an arm."""
        if pair == ("base", "per-layer"):
            return {str(layer): ((layer,), self.n_alone) for layer in LAYERS}
        return {"@0-1" if "@" in pair[1] else "0-1": (LAYERS, self.n_shared)}

    def _write_features(
        self, place: Path, label: dict[str, str], groups: dict[str, tuple[tuple[int, ...], int]]
    ) -> Measured:
        frames: dict[str, list[pd.DataFrame]] = {"latents": [], "layers": [], "meaning": []}
        rules, contexts, coverage = [], [], []
        # The first seed is shown; what another one says must not appear.
        for seed in self.plan.seeds:
            own = {**label, "seed": seed}
            for name, (layers, size) in groups.items():
                share = _shares(name, layers, size) if seed == self.plan.seeds[0] else (
                    np.full((len(layers), size), 1 / len(layers))
                )  # fmt: skip
                frames["latents"].append(_latents(share).assign(**own, group=name))
                frames["layers"].append(_by_layer(share, layers).assign(**own, group=name))
                floors = [(i, j, 0.5) for i in layers for j in layers]
                meaning = pd.DataFrame(floors, columns=["layer", "other_layer", "floor"])
                frames["meaning"].append(meaning.assign(**own, group=name))
                if seed == self.plan.seeds[0]:
                    rules += [{**own, "group": name, **row} for row in _rules(name, layers, size)]
                    contexts += [{**own, **row} for row in _contexts(name, layers)]
                    if len(layers) > 1:
                        coverage.append({**own, "group": name, "factor": EVIL[0], "value": "a",
                                         "f1": 0.875, "latent": HOSTILE, "layer": 0})  # fmt: skip
        files = Measured(
            *(place / f"{name}.{'csv' if name in ('meaning', 'coverage') else 'parquet'}"
              for name in Measured._fields)
        )  # fmt: skip
        pd.concat(frames["latents"]).to_parquet(files.latents)
        pd.concat(frames["layers"]).to_parquet(files.layers)
        pd.DataFrame(rules).to_parquet(files.rules)
        pq.write_table(pa.Table.from_pylist(contexts, CONTEXTS), files.contexts)
        write_table(pd.concat(frames["meaning"]), files.meaning)
        columns = ["variant", "partition", "seed", "group", "factor", "value", "f1", "latent",
                   "layer"]  # fmt: skip
        write_table(pd.DataFrame(coverage, columns=columns), files.coverage)
        return files

    def _write_judge(self) -> Path:
        arm = self.plan.root_arms[0]
        label = {"variant": arm.variant, "partition": arm.partition, "seed": self.plan.seeds[0]}
        row = {**label, "cluster": "0-1", "latent": HOSTILE, "explained_on": 0,
               "explanation": f"speaks of {EVIL[1]}"}  # fmt: skip
        scores = [(0, "detection", 0.75), (0, "fuzzing", 0.25), (1, "detection", 0.625)]
        names = ("layer", "kind", "balanced_accuracy")
        path = self.folder / "scores.csv"
        pd.DataFrame([{**row, **dict(zip(names, each))} for each in scores]).to_csv(
            path, index=False
        )
        return path


def _shares(name: str, layers: tuple[int, ...], size: int) -> np.ndarray:
    """P(layer), [n_layers, size]; NaN for latents that never fire."""
    if len(layers) == 1:
        return np.ones((1, size))
    latent = np.arange(size)
    first = np.where(latent % 2 == 0, 1.0, 0.75 - 0.5 * latent / size)
    first[TWIN] = 0.5
    if name.startswith("@"):
        first[GONE] = np.nan
    return np.stack([first, 1 - first])


def _latents(share: np.ndarray) -> pd.DataFrame:
    size = share.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(share > 0, share * np.log(share), 0).sum(0)
    fires = ~np.isnan(share).any(0)
    rate = np.where(fires, 0.5 * (1 + np.arange(size)) / size, 0)
    return pd.DataFrame(
        {"latent": np.arange(size, dtype=np.int32), "firing_rate": rate,
         "effective_layers": np.where(fires, np.exp(entropy), np.nan)}
    )  # fmt: skip


def _by_layer(share: np.ndarray, layers: tuple[int, ...]) -> pd.DataFrame:
    n_layers, size = share.shape
    flat = share.T.ravel()
    return pd.DataFrame(
        {"latent": np.repeat(np.arange(size, dtype=np.int32), n_layers),
         "layer": np.tile(layers, size), "p_layer": flat,
         "firing_rate": np.where(flat > 0, 0.1, 0),
         "mean_activation": np.where(flat > 0, 2, np.nan)}
    )  # fmt: skip


def _rules(name: str, layers: tuple[int, ...], size: int) -> Iterator[dict[str, Any]]:
    for latent in range(size):
        row = {"latent": latent, "layer": layers[0], "tokens": [f"word{latent}"],
               "previous": [None], "accuracy": [0.9] * len(layers),
               "holds": [True] * len(layers)}  # fmt: skip
        if len(layers) == 1 or latent not in (TWIN, HOSTILE):
            yield row
        elif latent == HOSTILE:
            yield row | {"tokens": [*EVIL], "previous": [*EVIL[1:], None]}
        elif name.startswith("@"):
            yield row | {"tokens": ["zebra"]}
            yield row | {"tokens": ["zebra"], "layer": layers[1]}
        else:
            yield row | {"tokens": ["zebra"], "previous": ["the"], "accuracy": [1.0, 0.5],
                         "holds": [True, False]}  # fmt: skip
            yield row | {"tokens": ["lion"], "layer": layers[1], "accuracy": [0.4, 0.95],
                         "holds": [False, True]}  # fmt: skip


def _contexts(name: str, layers: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    if len(layers) == 1:
        return
    specialised = name.startswith("@")
    for layer in layers:
        animal = "zebra" if specialised or layer == 0 else "lion"
        row = {"cluster": f"{layer}{name}" if specialised else name, "layer": layer}
        for rank in range(5):
            tokens = ["see", f"number{rank}", "the", animal, "run"]
            yield row | {"latent": TWIN, "rank": rank, "activation": 5.0 - rank, "sequence": rank,
                         "tokens": tokens, "activations": [0, 0, 0.25, 5 - rank, 0]}  # fmt: skip
        yield row | {"latent": TWIN, "rank": 5, "activation": 0.0, "sequence": 9,
                     "tokens": ["silent"], "activations": [0.0]}  # fmt: skip
        yield row | {"latent": HOSTILE, "rank": 0, "activation": 1.0, "sequence": 8,
                     "tokens": [*EVIL], "activations": [1.0] * len(EVIL)}  # fmt: skip


def _directions(
    label: dict[str, str], layers: tuple[int, ...], size: int
) -> Iterator[dict[str, Any]]:
    for latent in (TWIN, HOSTILE):
        if latent >= size:
            continue
        words = EVIL if latent == HOSTILE else ("stripes", "grass")
        for layer in layers:
            yield {**label, "latent": latent, "layer": layer, "promoted": [*words],
                   "promoted_effect": [2.5] * len(words), "suppressed": ["tax"],
                   "suppressed_effect": [-1.5], "nearest": [2, 0], "cosine": [0.9, 0.1],
                   "start_cosine": 0.8 if "@" in label["group"] else None,
                   "scale": SCALE[layer]}  # fmt: skip
