"""Figures of a run as a page holds them: the SVG itself, its title as text, and its caption."""

import base64
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from docutils.core import publish_parts
from markupsafe import Markup, escape

from clustersae.runtime.errors import InputError

_TITLE = "{http://www.w3.org/2000/svg}title"
#: A caption is text: it brings in no file and no HTML of its own.
_SETTINGS = {"file_insertion_enabled": False, "raw_enabled": False}


class Drawing(NamedTuple):
    """A figure to show.

    Attributes:
        name: of its file, without the ending.
        category: what it is about.
        title: what it shows, in a sentence.
        source: a data URI: as an image, an SVG runs no script and its ids meet no others.
        caption: HTML.
    """

    name: str
    category: str
    title: str
    source: str
    caption: Markup


def drawings(
    files: Sequence[str | Path], captions: Mapping[str, tuple[str, str]], model: str
) -> list[Drawing]:
    """The figures in their order, but those on quality first.

    Args:
        files: SVG.
        captions: name → category and reStructuredText with `{model}` in it.
        model: name for the captions.
    """
    found = []
    for file in map(Path, files):
        category, text = captions[file.stem]
        title = title_of(file) or file.stem.replace("_", " ")
        found.append(Drawing(file.stem, category, title, data_uri(file), caption(text, model)))
    return sorted(found, key=lambda drawing: drawing.category != "Quality")


def title_of(file: Path) -> str:
    """The title that an SVG has as its metadata; empty without one."""
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{file} is no SVG ({error}). Delete it and run again.") from None
    return " ".join((root.findtext(_TITLE) or "").split())


def data_uri(file: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(file.read_bytes()).decode()


def caption(text: str, model: str) -> Markup:
    """reStructuredText as HTML; the model's name is put in as text, whatever it holds."""
    parts = publish_parts(text, writer="html5", settings_overrides=_SETTINGS)
    return Markup(parts["body"].replace("{model}", escape(model)))
