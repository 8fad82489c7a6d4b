"""Variants: named changes of the base SAE settings that make honest comparisons.

base                   as configured
fewer-tokens-{K}of{L}  T·K/L activations: L per-layer SAEs then cost what K full ones do
narrower-{K}of{L}      as many latents as make training take K/L of the operations: the same
                       budget spent on smaller dictionaries
equal-exposure         T·n activations for a cluster of n layers: each layer is seen T times
"""

import re
from fractions import Fraction

from clustersae.errors import InputError

#: Matches every variant's name, for wildcards.
PATTERN = r"base|equal-exposure|(?:fewer-tokens|narrower)-\d+of\d+"


def variant_scales(variant: str, n_cluster_layers: int) -> tuple[float, float]:
    """Factors on the number of activations and on the operations per activation.

    Raises:
        InputError: the variant's name is not known.
    """
    if variant == "base":
        return 1.0, 1.0
    if variant == "equal-exposure":
        return float(n_cluster_layers), 1.0
    match = re.fullmatch(r"(fewer-tokens|narrower)-(\d+)of(\d+)", variant)
    if not match or not 0 < int(match[2]) <= int(match[3]):
        raise InputError(
            f"{variant!r} is not a variant: use base, equal-exposure, fewer-tokens-KofL or"
            " narrower-KofL with K ≤ L."
        )
    share = int(match[2]) / int(match[3])
    return (share, 1.0) if match[1] == "fewer-tokens" else (1.0, share)


def pilot_variant(fraction: float) -> str:
    """The variant of short trainings on about `fraction` of the activations."""
    share = Fraction(fraction).limit_denominator(1000)
    return f"fewer-tokens-{max(share.numerator, 1)}of{share.denominator}"
