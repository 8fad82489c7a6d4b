"""What stands on a figure: for tests that read titles and find texts that collide."""

from unittest import mock

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from clustersae.presentation import style


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
