"""What is to be known of architectures before an SAE is made; `sae.registry` has their classes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from clustersae.runtime.errors import InputError


class Architecture(NamedTuple):
    """Attributes:
    title: what the literature calls it.
    dense: operations per activation, weight of the decoder and training step: this times
        d_model · d_sae.
    sparse: and this times d_model · k.
    holds: what a training step holds at its peak for every token, beside the weights: numbers in
        float32, in units of d_sae, d_model and k. Measured with all latents dead: test_memory.py.
    active: how many latents are active, with {k} in the text; empty: sae.k says nothing of it.
    sparsity: default weight of the loss that makes latents sparse; None: it has no such loss.
    """

    title: str
    dense: int
    sparse: int
    holds: tuple[float, float, float]
    active: str = ""
    sparsity: float | None = None

    @property
    def aims_at_k(self) -> bool:
        """Whether the loss brings L0 to k, which it may miss."""
        return bool(self.active) and self.sparsity is not None


#: `sae.architecture` → the facts. Of products with latents, what is not TopK or akin to it does
#: them all densely: 2 each for encoder and decoder, 6 for the gradients of both and of the latents.
ARCHITECTURES: Mapping[str, Architecture] = {
    "topk": Architecture("TopK", 2, 8, (3, 7, 12), "{k}"),
    # Entries have tokens of their own.
    "batchtopk": Architecture("BatchTopK", 2, 8, (3, 7, 24), "on average {k}"),
    "matryoshka": Architecture("Matryoshka BatchTopK", 2, 8, (3, 7, 24), "on average {k}"),
    # A quarter is a matrix of truth values.
    "jumprelu": Architecture("JumpReLU", 10, 0, (5.25, 7, 0), "about {k}", sparsity=1.0),
    "relu": Architecture("ReLU", 10, 0, (4, 2, 0), sparsity=2.0),
    "gated": Architecture("Gated", 14, 0, (7.25, 2, 0), sparsity=5.0),
}

_COMMON = ("topk", "batchtopk", "matryoshka", "jumprelu", "relu", "gated")

#: Format of exports → the architectures that can be written in it.
EXPORTED: Mapping[str, Sequence[str]] = {
    "saelens": _COMMON,
    "dictionary_learning": _COMMON,
    "sparsify": ("topk",),
}

#: Shares of the latents that a Matryoshka SAE's inner dictionaries have (Bussmann et al. 2025).
PREFIXES = (1 / 32, 3 / 32, 7 / 32, 15 / 32)


def held_bytes(architecture: str, d_model: int, d_sae: int, k: int, n_prefixes: int = 0) -> int:
    """What a training step holds at its peak for every token, beside weights and what they have.

    Args:
        n_prefixes: inner dictionaries of a Matryoshka SAE: each has a reconstruction and its
            gradient.
    """
    wide, narrow, sparse = ARCHITECTURES[architecture].holds
    return round(4 * (wide * d_sae + (narrow + 2 * n_prefixes) * d_model + sparse * k))


def check_architecture(where: str, settings: Mapping[str, Any]) -> None:
    """Options that the architecture has, and formats that can express it.

    Raises:
        InputError: names the key and the remedy.
    """
    sae = settings["sae"]
    name = sae["architecture"]
    if sae["sparsity"] is not None and ARCHITECTURES[name].sparsity is None:
        others = [each for each, facts in ARCHITECTURES.items() if facts.sparsity is not None]
        raise InputError(
            f"{where}: sae.sparsity is {sae['sparsity']}, but {name} has no such weight: sae.k says"
            f" how many latents are active. Take it out, or use {', '.join(others)}."
        )
    if sae["prefixes"] is not None and name != "matryoshka":
        raise InputError(
            f"{where}: sae.prefixes is given, but only matryoshka has inner dictionaries. Take it"
            f" out, or write sae.architecture: matryoshka."
        )
    for format in settings["exports"]["formats"]:
        check_export(format, name, f"{where}: exports.formats has {format}")


def check_export(format: str, architecture: str, problem: str) -> None:
    """Raise InputError, which begins with `problem`, where `format` has no such SAEs."""
    known = EXPORTED[format]
    if architecture not in known:
        others = [each for each, names in EXPORTED.items() if architecture in names]
        remedy = f"Use {' or '.join(others)}." if others else "No other format has them either."
        raise InputError(
            f"{problem}, but that tool knows only {', '.join(known)} SAEs, no {architecture}."
            f" {remedy}"
        )
