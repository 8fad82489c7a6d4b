"""Figures of a page: the bytes that were drawn, their title as text, captions that stay text."""

import base64

import pytest
from matplotlib.figure import Figure

from clustersae.presentation import style
from clustersae.report.figures import caption, data_uri, drawings, title_of
from clustersae.runtime.errors import InputError

TITLE = "Sharing costs 5 % & more: x < y"


@pytest.fixture
def svg(tmp_path):
    with style.styled():
        style.save(
            style.canvas(4, 2, TITLE, "on a model"), tmp_path / "one.svg", tmp_path / "one.png"
        )
    return tmp_path / "one.svg"


def test_the_title_of_a_figure_is_read_from_its_file(svg, tmp_path):
    assert title_of(svg) == TITLE
    Figure().savefig(tmp_path / "bare.svg")
    assert title_of(tmp_path / "bare.svg") == ""
    (tmp_path / "cut.svg").write_bytes(svg.read_bytes()[:900])
    with pytest.raises(InputError, match=r"cut\.svg is no SVG .*Delete it and run again"):
        title_of(tmp_path / "cut.svg")


def test_the_page_holds_the_very_bytes(svg):
    head, _, data = data_uri(svg).partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(data) == svg.read_bytes()


def test_figures_on_quality_come_first(svg, tmp_path):
    other = tmp_path / "two.svg"
    other.write_bytes(svg.read_bytes())
    captions = {"one": ("Cost", "One."), "two": ("Quality", "Two of {model}.")}
    found = drawings([svg, other], captions, "m")
    assert [(each.name, each.title) for each in found] == [("two", TITLE), ("one", TITLE)]
    assert "Two of m." in found[0].caption


def test_a_caption_is_marked_up_and_brings_in_nothing(tmp_path):
    (tmp_path / "secret").write_text("what stands in a file")
    text = f"""*Siblings* of {{model}} < 3, ``tables/arms.csv``.

.. include:: {tmp_path}/secret

.. raw:: html

   <script>alert(1)</script>
"""
    html = caption(text, "<b>_")
    assert "<em>Siblings</em> of &lt;b&gt;_ &lt; 3" in html
    assert "what stands" not in html
    assert "<script" not in html
