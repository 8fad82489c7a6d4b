"""What was measured of the latents of one group and seed, read from files of its arm."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from clustersae.browser.contexts import Contexts, read_contexts
from clustersae.browser.groups import Shown
from clustersae.presentation.tables import read_file

_JUDGE = ("variant", "partition", "seed", "cluster", "latent", "layer", "kind")
_SCORES = ("explained_on", "balanced_accuracy", "explanation")


class Measured(NamedTuple):
    """Files of the features of one arm."""

    latents: Path
    layers: Path
    contexts: Path
    rules: Path
    meaning: Path
    coverage: Path

    @classmethod
    def by_arm(
        cls, arms: Sequence[tuple[str, str]], files: Mapping[str, Sequence[str]]
    ) -> dict[tuple[str, str], "Measured"]:
        """(variant, partition) → its files.

        Args:
            files: by the names of the fields, one of each arm, in the order of `arms`.
        """
        columns = ([Path(path) for path in files[name]] for name in cls._fields)
        return {arm: cls(*own) for arm, *own in zip(arms, *columns, strict=True)}


class Rows(NamedTuple):
    """Rows of one group and seed, of the files of these names."""

    latents: pd.DataFrame
    by_layer: pd.DataFrame  # of layers.parquet
    rules: pd.DataFrame
    meaning: pd.DataFrame
    coverage: pd.DataFrame
    directions: pd.DataFrame
    judge: pd.DataFrame  # of scores.csv
    contexts: Contexts

    @property
    def homes(self) -> dict[int, int]:
        """By latent, the layer with most of its activation."""
        ordered = self.by_layer.dropna(subset=["p_layer"]).sort_values("p_layer", kind="stable")
        last = ordered.drop_duplicates("latent", keep="last")
        return dict(zip(last["latent"], last["layer"]))


def read_scores(paths: Sequence[Path]) -> pd.DataFrame:
    """What a judge says of arms; no rows where nobody was asked."""
    columns = (*_JUDGE, *_SCORES)
    none = pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    return pd.concat([none, *(read_file(path, columns) for path in paths)], ignore_index=True)


def read_group(
    group: Shown,
    files: Measured,
    directions: Path,
    scores: pd.DataFrame,
    seed: int,
    n_contexts: int,
) -> Rows:
    """The rows of one group.

    Args:
        directions: by `evaluate_directions.py`.
        scores: `read_scores`.
        n_contexts: of each latent and layer, at most.
    """
    own = {"group": group.group, "seed": seed}
    label = dict(zip(("variant", "partition", "group"), group.key))
    saes = sorted(set(group.saes.values()))
    filters = [("seed", "==", seed), ("cluster", "in", saes), ("activation", ">", 0)]
    return Rows(
        latents=_parquet(files.latents, own),
        by_layer=_parquet(files.layers, own),
        rules=_parquet(files.rules, own),
        meaning=_csv(files.meaning, own),
        coverage=_csv(files.coverage, own),
        directions=_parquet(directions, label),
        judge=_having(scores.rename(columns={"cluster": "group"}), {**label, "seed": seed}),
        contexts=read_contexts(pq.read_table(files.contexts, filters=filters), n_contexts),
    )


def _parquet(path: Path, own: Mapping[str, Any]) -> pd.DataFrame:
    return pd.read_parquet(path, filters=[(name, "==", value) for name, value in own.items()])


def _csv(path: Path, own: Mapping[str, Any]) -> pd.DataFrame:
    # A group of one layer is called by its number, which must stay text.
    return _having(read_file(path).astype({"group": str}), own)


def _having(frame: pd.DataFrame, own: Mapping[str, Any]) -> pd.DataFrame:
    for name, value in own.items():
        frame = frame[frame[name] == value]
    return frame
