"""The probes of a configuration: enough tokens with a label, and without it."""

from collections.abc import Mapping
from typing import Any

from clustersae.runtime.errors import InputError

#: Tokens of each split at which a label must hold, and not hold, to be asked for.
LEAST = 50


def check_probes(where: str, evaluation: Mapping[str, Any]) -> None:
    """Refuse probes of fewer tokens than any label is asked for.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2: `.
        evaluation: that section.

    Raises:
        InputError: names the key and the remedy.
    """
    n_tokens = evaluation["probe_tokens"]
    if 0 < n_tokens < 2 * LEAST:
        raise InputError(
            f"{where}evaluation.probe_tokens is {n_tokens}, but a label is asked for with"
            f" {LEAST} tokens that have it and {LEAST} that have not: use {2 * LEAST} or more, or 0"
            " for no probes."
        )
