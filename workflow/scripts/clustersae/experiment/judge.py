"""The judge of a configuration: a language model behind an address."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from clustersae.runtime.errors import InputError

#: On its lowest layer a latent needs two contexts to be explained by and two to be recognised in.
LEAST_CONTEXTS = 4


def check_judge(where: str, evaluation: Mapping[str, Any]) -> None:
    """Refuse a judge that cannot be asked.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2: `.
        evaluation: that section.

    Raises:
        InputError: names the key and the remedy.
    """
    judge, n_contexts = evaluation["judge"], evaluation["features"]["contexts"]
    address = judge["base_url"]
    if not address:
        return
    check_address(where, address)
    if not judge["model"]:
        raise InputError(
            f"{where}evaluation.judge.model is missing: name the model that {address} is to"
            " answer with."
        )
    if n_contexts < LEAST_CONTEXTS:
        raise InputError(
            f"{where}evaluation.features.contexts is {n_contexts}, with which a judge is asked"
            " about no latent: half of them explain it, and it is recognised in the others. Use"
            f" {LEAST_CONTEXTS} or more."
        )


def check_address(where: str, address: str) -> None:
    """Refuse what is no address of an endpoint.

    Raises:
        InputError: names the key, after `where`.
    """
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_address = False
    if not is_address:
        raise InputError(
            f"{where}evaluation.judge.base_url is {address!r}, which is no address: write one such"
            " as http://localhost:8000/v1."
        )
