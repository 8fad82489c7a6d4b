"""Data as scripts, which is all that a page that was opened from a file may load.

A piece is one call, `clustersae.take(name, value);`. What it holds comes from texts of any origin
and must stay data: strings are pure ASCII with the characters that end a script, or a line of one,
escaped, and no key of an object comes from data (one called `__proto__` would not be one).
"""

import json
import math
from pathlib import Path
from typing import Any

from clustersae.runtime.files import write_text

#: Significant digits of numbers.
DIGITS = 3
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def script(name: str, value: Any) -> str:
    """The piece of that name.

    Raises:
        ValueError: a number is not finite, see `number`.
    """
    call = json.dumps([name, value], separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"clustersae.take({call[1:-1].translate(_ESCAPES)});\n"


def write_piece(folder: Path, name: str, value: Any) -> int:
    """Write `{name}.js`; its size in bytes."""
    text = script(name, value)
    write_text(folder / f"{name}.js", text)
    return len(text)


def number(value: float) -> float | int | None:
    """`value` with few digits, whole numbers as such; None for NaN."""
    if math.isnan(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short
