"""The judge of a configuration: a language model behind an address."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from clustersae.runtime.errors import InputError


def check_judge(where: str, judge: Mapping[str, Any]) -> None:
    """Refuse a judge that cannot be asked.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2: `.
        judge: section `evaluation.judge`.

    Raises:
        InputError: names the key and the remedy.
    """
    address = judge["base_url"]
    if not address:
        return
    check_address(where, address)
    if not judge["model"]:
        raise InputError(
            f"{where}evaluation.judge.model is missing: name the model that {address} is to"
            " answer with."
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
