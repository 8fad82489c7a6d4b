"""How latents spread over the layers of their group, from one row per latent to one per group.

A group is the latents that share an identity by index: those of one SAE over the layers that it
serves, or of specialised SAEs that started from one root.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pyarrow.lib import ArrowException

from clustersae.runtime.errors import InputError

#: A latent that has more than this share of its activation on one layer is at home there.
HOME = 0.9

#: Columns that are means over live latents.
SPREAD = (
    *("firing_rate", "entropy", "effective_layers", "home_share"),
    *("within_token_variance", "over_token_variance"),
)
LABEL = ["variant", "partition", "seed", "group"]
_LATENTS = [*LABEL, "n_layers", "latent", *(name for name in SPREAD if name != "home_share")]
_LAYERS = [*LABEL, "latent", "p_layer"]


def spread_by_group(latents: Sequence[str | Path], layers: Sequence[str | Path]) -> pd.DataFrame:
    """One row per arm, seed and group: `n_layers`, `n_latents`, `n_live` and the means `SPREAD`.

    A live latent fires at least once; a group without any has no means. `home_share` is the share
    of latents with more than `HOME` of their activation on one layer. Files hold millions of
    latents, so they are read one arm at a time.

    Args:
        latents, layers: `latents.parquet` and `layers.parquet` of every arm, in one order.
    """
    return pd.concat([_of_arm(*paths) for paths in zip(latents, layers)], ignore_index=True)


def _of_arm(latents: str | Path, layers: str | Path) -> pd.DataFrame:
    rows, by_layer = _read(latents, _LATENTS), _read(layers, _LAYERS)
    one = [*LABEL, "latent"]
    most = by_layer.groupby(one, sort=False)["p_layer"].max().rename("most")
    rows = rows.merge(most, how="left", left_on=one, right_index=True)
    live = rows[rows["firing_rate"] > 0]
    if live["most"].isna().any():
        raise InputError(
            f"{layers} lacks layers of latents that {latents} has. Delete both and run again."
        )
    live = live.assign(home_share=(live["most"] > HOME).astype(float))
    counts = rows.groupby(LABEL, sort=False).agg(
        n_layers=("n_layers", "first"), n_latents=("latent", "size")
    )
    means = live.groupby(LABEL, sort=False).agg(
        n_live=("latent", "size"), **{name: (name, "mean") for name in SPREAD}
    )
    result = counts.join(means).reset_index()
    return result.fillna({"n_live": 0}).astype({"n_live": int})


def _read(path: str | Path, columns: list[str]) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} is not a table with the columns {', '.join(columns)} ({reason}). Delete it"
            " and run again."
        ) from None
    # Names may be stored as codes.
    return frame.astype(dict.fromkeys(("variant", "partition", "group"), str))
