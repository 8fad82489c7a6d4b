"""Numbers in words, alike in text and figures."""

import textwrap
from collections.abc import Sequence

import numpy as np


def percent(value: float, signed: bool = False) -> str:
    """0.0412 as "4.1 %", signed as "+4.1 %" or "−4.1 %"; whole from 20 % upwards."""
    size = f"{abs(100 * value):.{0 if abs(value) >= 0.1995 else 1}f}"
    sign = "" if float(size) == 0 else ("−" if value < 0 else "+")
    return (sign if signed or value < 0 else "") + size + " %"


def share(value: float) -> str:
    """A planned fraction, which is a round number: 0.15 as "15 %", 2 as "200 %"."""
    return f"{100 * value:.3g} %"


def interval_text(low: float, high: float) -> str:
    """A relative interval as "95 % interval +3.2 to +5.0 %", or that there is none."""
    if np.isnan(low) or np.isnan(high):
        return "no interval"
    return f"95 % interval {percent(low, True)} to {percent(high, True)}"


def paragraph(sentences: Sequence[str]) -> str:
    """Sentences in lines of up to 100 characters."""
    # A number and its per cent sign stay on one line.
    text = " ".join(sentences).replace(" %", "\u00a0%")
    filled = textwrap.fill(text, width=100, break_on_hyphens=False)
    return filled.replace("\u00a0", " ") + "\n"
