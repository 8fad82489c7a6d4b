"""Evaluation files read into frames whose columns and keys are known to be right."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from clustersae.runtime import written
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import replacing

#: Names that look like numbers (cluster "3") and must not become them.
_TEXT = dict.fromkeys(
    (
        *("arm", "partition", "variant", "sae_variant", "method", "role", "cluster", "split"),
        *("kind", "mode", "task", "control", "errors", "ablation", "reason", "explanation"),
    ),
    str,
)


#: What stands for a number that there is none of. In text, "nan" and pandas' own "None" or "NA" are
#: words.
_NO_NUMBER = ("", "nan")


class Format(NamedTuple):
    """What a file must hold: its columns, and those that together name a row only once."""

    key: tuple[str, ...]
    values: tuple[str, ...]


_CE = ("ce_clean", "ce_spliced", "delta_ce", "ce_recovered_zero", "ce_recovered_mean", "kl")

RECONSTRUCTION = Format(
    ("variant", "cluster", "seed", "layer", "split"),
    (
        *("n_tokens", "fvu", "fvu_all_tokens", "fvu_standardised", "mse", "cosine", "l0"),
        *("dead_fraction", "ultra_low_density_fraction", "n_tokens_dead"),
    ),
)
DENSITY = Format(
    ("variant", "cluster", "layer", "seed", "kind", "log10_density_low", "log10_density_high"),
    ("n_latents",),
)
# Arms of one partition (equal exposure and base) share SAEs, and each measures them: no key.
LAYER_SPLICE = Format((), ("variant", "cluster", "partition", "seed", "layer", *_CE, "n_tokens"))
PARTITION_SPLICE = Format(
    ("variant", "partition", "seed"), (*_CE, "ce_spliced_bounded", "n_tokens")
)
STREAM = Format(
    ("layer",),
    (
        *("n_tokens", "n_special", "n_first", "n_norm", "median_norm", "max_norm", "mean_norm"),
        *("scale", "largest_dimension", "largest_dimension_share", "ten_tokens_share"),
        *("left_out_share", "special_share", "first_share", "norm_share", "rounding_share"),
    ),
)
COST = Format(
    (),
    (
        *("kind", "variant", "cluster", "seed", "seconds", "job_seconds", "tuning_seconds"),
        *("peak_memory_mb", "peak_gpu_memory_mb", "flops", "tuning_flops", "activations"),
        *("n_tokens", "tokens_reached"),
    ),
)
HISTORY = Format(
    ("step",),
    ("activations", "fvu", "l0", "dead_fraction", "learning_rate", "activations_per_second"),
)


def read_files(paths: Sequence[str | Path], format: Format) -> pd.DataFrame:
    """The rows of all `paths` below one another; an empty frame with the columns if none.

    Raises:
        InputError: a file or one of its columns is missing, or two rows have the same key.
    """
    columns = [*format.key, *format.values]
    if not paths:
        return pd.DataFrame({name: pd.Series(dtype=_TEXT.get(name, float)) for name in columns})
    frame = pd.concat([read_file(path, columns) for path in paths], ignore_index=True)
    if format.key:
        repeated = frame[frame.duplicated(list(format.key))]
        if len(repeated):
            row = ", ".join(f"{name} {repeated.iloc[0][name]}" for name in format.key)
            raise InputError(f"Two rows are the same measurement ({row}) in: {_listed(paths)}.")
    return frame


def read_file(path: str | Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """One CSV file with at least `columns`; names stay text, and empty cells are missing."""
    written.check([path])
    try:
        with open(path, newline="", encoding="utf-8") as file:
            names = next(csv.reader(file), [])
        missing = {name: [""] if name in _TEXT else _NO_NUMBER for name in names}
        frame = pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values=missing)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path} is not a table ({str(error).strip()}). Delete it and run again."
        ) from None
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise InputError(f"{path} lacks the columns {', '.join(lacking)}.")
    return frame


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    """Write `frame` as CSV, floats with eight significant digits, missing values empty."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.8g", lineterminator="\n")


def _listed(paths: Sequence[str | Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:3])
    return shown + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
