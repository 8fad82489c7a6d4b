"""Variants: named changes of the base SAE settings that make honest comparisons.

base              as configured
tokens-{N}of{M}   N/M of the activations: L per-layer SAEs on K/L of them cost what K full ones do
narrower-{N}of{M} as many latents as make training take N/M of the operations: the same budget
                  spent on smaller dictionaries
equal-exposure    T·n activations for a cluster of n layers: T tokens, of which each is read n
                  times, at one layer each time
equal-exposure-{N}of{M}  the same of N/M·T tokens
mlsae-{N}of{M}    N/M·T tokens, each of them at every layer of the cluster, as multi-layer SAEs read
                  them (Lawson et al. 2024): n·N/M·T activations
crosscoder-{N}of{M}  N/M·T tokens, each of them at all layers of the cluster at once, with one code
                  for all (Lindsey et al. 2024): n·N/M·T activations, too

The variant of a specialised SAE says the same of the SAE that it started from: `3@0-4` of variant
`tokens-1of5@equal-exposure-1of4` was trained on for T/5 activations after 5T/4 of `0-4`.
`tokens-1of5~base` is T/5 for each layer that took over the weights of the layer before, after T for
the first one.
"""

import re
from fractions import Fraction

from clustersae.experiment.clusters import FROM, VIA
from clustersae.runtime.errors import InputError

BASE = "base"
EQUAL_EXPOSURE = "equal-exposure"
#: The kind of variant that reads every token at every layer.
EVERY_LAYER = "mlsae"
#: The kind of variant that gives a token one code for all layers of the cluster.
CROSSCODER = "crosscoder"
_KINDS = rf"tokens|narrower|{EQUAL_EXPOSURE}|{EVERY_LAYER}|{CROSSCODER}"
_SCALED = re.compile(rf"(?P<kind>{_KINDS})-(?P<part>\d+)of(?P<whole>\d+)")
_ONE = rf"{BASE}|{EQUAL_EXPOSURE}|(?:{_KINDS})-\d+of\d+"

#: Matches every variant's name, for wildcards.
PATTERN = rf"(?:{_ONE})(?:[{FROM}{VIA}](?:{_ONE}))?"
_SEPARATOR = re.compile(f"[{FROM}{VIA}]")


def variant_scales(variant: str, n_cluster_layers: int) -> tuple[float, float]:
    """Factors on the rows that an SAE is trained on, and on the operations per row.

    A row is one activation; a crosscoder's are those of a token at all layers. Of a specialised
    SAE: those of its own training, without what it started from.

    Raises:
        InputError: the variant's name is not known.
    """
    own = _SEPARATOR.split(variant)[0]
    if own == BASE:
        return 1.0, 1.0
    if own == EQUAL_EXPOSURE:
        return float(n_cluster_layers), 1.0
    kind, share = kind_of(own), share_of(own)
    if share is None or not share or (kind == "narrower" and share > 1):
        raise InputError(
            f"{variant!r} is not a variant: use base, equal-exposure, equal-exposure-NofM,"
            f" tokens-NofM, {EVERY_LAYER}-NofM, {CROSSCODER}-NofM, or narrower-NofM with N ≤ M."
        )
    if kind == CROSSCODER:
        return float(share), float(layers_at_once(own, n_cluster_layers))
    if kind in (EVERY_LAYER, EQUAL_EXPOSURE):
        return float(share * n_cluster_layers), 1.0
    return (float(share), 1.0) if kind == "tokens" else (1.0, float(share))


def times_read(variant: str, n_cluster_layers: int) -> int:
    """How many rows each token gives: n of T·n rows of T tokens, in one pass or one in each."""
    return n_cluster_layers if kind_of(variant) in (EVERY_LAYER, EQUAL_EXPOSURE) else 1


def layers_at_once(variant: str, n_cluster_layers: int) -> int:
    """Layers whose activations of a token make up a row: all of a crosscoder's, else one."""
    return n_cluster_layers if kind_of(variant) == CROSSCODER else 1


def kind_of(variant: str) -> str:
    """tokens, narrower, mlsae, crosscoder, base or equal-exposure."""
    match = _SCALED.fullmatch(variant)
    return match["kind"] if match else variant


def share_of(variant: str) -> Fraction | None:
    """N/M of tokens-NofM, mlsae-NofM and so on; None for other variants."""
    match = _SCALED.fullmatch(variant)
    return (
        Fraction(int(match["part"]), int(match["whole"])) if match and int(match["whole"]) else None
    )


def fraction_near(share: float) -> Fraction:
    """What was meant by 0.4 or 0.3333: a fraction of small numbers, at most a 5,000th of it off."""
    exact, limit = Fraction(share), 1000
    while abs((near := exact.limit_denominator(limit)) - exact) * 5000 > exact:
        limit *= 1000
    return near


def scaled_variant(kind: str, share: float | Fraction) -> str:
    """The variant of `kind` (tokens, narrower, …) for a share of its base, in lowest terms.

    A share is of the base cost; of an mlsae and a crosscoder, whose whole is no base variant, of
    the base tokens.
    """
    exact = share if isinstance(share, Fraction) else fraction_near(share)
    if exact == 1 and kind not in (EVERY_LAYER, CROSSCODER):
        return EQUAL_EXPOSURE if kind == EQUAL_EXPOSURE else BASE
    return f"{kind}-{exact.numerator}of{exact.denominator}"
