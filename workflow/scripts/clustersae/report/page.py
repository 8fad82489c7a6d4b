"""The page itself, from a template. Everything that came from data is escaped."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clustersae.report.figures import Drawing
from clustersae.report.tables import Table

ASSETS = Path(__file__).parent / "assets"


class Contents(NamedTuple):
    """What a page holds.

    Attributes:
        model: its name.
        verdict: `tables/verdict.json`.
        at_length: `tables/verdict_long.txt`.
        legend: what columns and words of the verdict mean, as HTML.
        drawings: the figures.
        arms: the table of all arms.
        tables: all other tables.
        settings: `asked` and `complete`, as plain values.
        work: what caching and training took.
        versions, machine: of the process that writes the page.
        written: when, in words.
    """

    model: str
    verdict: Mapping[str, Any]
    at_length: str
    legend: Markup
    drawings: Sequence[Drawing]
    arms: Table
    tables: Sequence[Table]
    settings: Mapping[str, Any]
    work: Table
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    written: str


def html(contents: Contents) -> str:
    """One file that loads nothing and runs one script, by a policy in its head.

    The policy names style and script by their digests: what data may smuggle in is text at worst.
    """
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bound"] = _bound
    style, script = (_asset(name) for name in ("page.css", "sortable.min.js"))
    return environment.get_template("page.html").render(
        contents._asdict(),
        answers=[answer.partition(": ") for answer in contents.verdict["answers"]],
        sections=sections(contents.at_length),
        settings={name: _yaml(value) for name, value in contents.settings.items()},
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def sections(text: str) -> list[tuple[str, list[str]]]:
    """Heading → paragraphs of a text with headings that begin with `##`; the first has none."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for block in text.split("\n\n"):
        if block.startswith("## "):
            found.append((block.removeprefix("## ").strip(), []))
        elif block.strip():
            found[-1][1].append(" ".join(block.split()))
    return [section for section in found if section[1]]


def _bound(text: str) -> str:
    """No line breaks between a number and its per cent sign."""
    return text.replace(" %", "\u00a0%")


def _asset(name: str) -> Markup:
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _yaml(value: Any) -> str:
    """YAML with short lists and sections in one line each."""
    return yaml.safe_dump(
        value, sort_keys=False, allow_unicode=True, default_flow_style=None, width=90
    )
