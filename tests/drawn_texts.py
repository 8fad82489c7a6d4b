"""What stands on a figure: for tests that read titles and points, and find texts that collide."""

from itertools import combinations
from unittest import mock

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text

from clustersae.presentation import style


def title_of(figure, number: int = 0) -> str:
    """The title; or the subtitle, number 1. On one line, with plain spaces."""
    return figure.texts[number].get_text().replace("\u00a0", " ").replace("\n", " ")


def points(axis) -> list[tuple[float, float, bool]]:
    """(x, y, is filled) of every point that has error bars."""
    found = []
    for container in axis.containers:
        line = container.lines[0]
        ((x, y),) = line.get_xydata()
        found.append((x, y, to_hex(line.get_markerfacecolor()) != "#ffffff"))
    return found


def texts_of(figure) -> list[tuple[str, np.ndarray]]:
    """Every text that was drawn, with its box (x0, y0, x1, y1) in pixels."""
    drawn, draw = {}, Text.draw

    def record(text: Text, renderer) -> None:
        # Labels of ticks beyond the limits are laid out but never come here.
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        draw(text, renderer)

    with style.styled(), mock.patch.object(Text, "draw", record):
        FigureCanvasAgg(figure)  # whose pixels are those of the box
        figure.draw_without_rendering()
        return [(text.get_text(), text.get_window_extent().extents) for text in drawn.values()]


def texts_that_lie_apart(figure) -> list[tuple[str, np.ndarray]]:
    """The same, after asserting that each lies on the figure and none on another."""
    width, height = figure.get_size_inches() * figure.dpi
    texts = texts_of(figure)
    for text, (x0, y0, x1, y1) in texts:
        assert min(x0, y0, width - x1, height - y1) > -1, text
    for (one, a), (other, b) in combinations(texts, 2):
        overlap = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        assert min(overlap) < 2, f"{one!r} and {other!r} overlap by {overlap} pixels"
    return texts
