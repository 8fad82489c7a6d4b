"""Numbers in words, alike in text and figures."""

import textwrap
from collections.abc import Sequence

import numpy as np

from clustersae.runtime.words import counted

#: Characters of a line of text.
WIDTH = 100


def percent(value: float, signed: bool = False) -> str:
    """0.0412 as "4.1 %", signed as "+4.1 %" or "−4.1 %"; whole from 20 % upwards."""
    size = f"{abs(100 * value):.{0 if abs(value) >= 0.1995 else 1}f}"
    sign = "" if float(size) == 0 else ("−" if value < 0 else "+")
    return (sign if signed or value < 0 else "") + size + " %"


def share(value: float) -> str:
    """A planned fraction, which is a round number: 0.15 as "15 %", 2 as "200 %"."""
    return f"{float(f'{100 * value:.3g}'):g} %"  # 10 as "1000 %", not "1e+03 %"


def saes(count: int) -> str:
    """A number of SAEs: "1 SAE", "3 SAEs"."""
    return counted(count, "SAE")


def interval_text(low: float, high: float) -> str:
    """A relative interval as "95 % interval +3.2 to +5.0 %", or that there is none."""
    if np.isnan(low):
        return "no interval"
    return f"95 % interval {percent(low, True)} to {percent(high, True)}"


def paragraph(sentences: Sequence[str]) -> str:
    """Sentences in lines of up to 100 characters."""
    # A number and its per cent sign stay on one line.
    text = " ".join(sentences).replace(" %", "\u00a0%")
    filled = textwrap.fill(text, width=WIDTH, break_on_hyphens=False)
    return filled.replace("\u00a0", " ") + "\n"


def bounds(low: float, high: float) -> str:
    """A relative interval as "[+3.2 to +5.0 %]"; nothing where there is none."""
    if np.isnan(low):
        return ""
    return f"[{percent(low, True).removesuffix(' %')} to {percent(high, True)}]"


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def fitted(start: str, parts: Sequence[str], more: str = "", width: int = WIDTH) -> str:
    """`start` and as many parts, the first ones, as stand in one line of `width` characters.

    Args:
        more: said of the parts that are left out, with their number for {}.
    """
    for count in range(len(parts), 0, -1):
        left = len(parts) - count
        rest = [more.format(left)] if left and more else []
        line = f"{start} {'; '.join([*parts[:count], *rest])}"
        if len(line) <= width:
            return line
    return textwrap.shorten(f"{start} {'; '.join(parts[:1])}", width, placeholder=" …")
