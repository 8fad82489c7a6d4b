"""The page as a file: complete in itself, every text in it text, every link leading somewhere."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from synthetic_page import HOSTILE, Page, Written, hostile_page

from clustersae.report.page import ASSETS, sections


class Elements(HTMLParser):
    """Tags with their attributes, and the text inside of them, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags:
            self.texts.append((self.tags[-1][0], data))

    def text_of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Written:
    return hostile_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def elements(written):
    return Elements(written.text)


def test_what_users_bring_is_text_wherever_it_stands(elements, written):
    assert [tag for tag, _ in elements.tags].count("script") == 1
    assert all(attrs["src"].startswith("data:") for tag, attrs in elements.tags if tag == "img")
    for tag in ("title", "h1", "td", "button", "pre"):
        assert any("document.title" in text for text in elements.text_of(tag)), tag
    assert "<script>document" not in written.text
    assert HOSTILE in [attrs.get("data-sort") for tag, attrs in elements.tags if tag == "td"]


def test_nothing_is_loaded_and_one_script_is_allowed(elements, written):
    for tag, attrs in elements.tags:
        source = attrs.get("src") or (attrs.get("href") if tag == "link" else None)
        assert source is None or source.startswith("data:"), (tag, source)
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
    policies = [
        attrs["content"]
        for tag, attrs in elements.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none';")
    for tag, name in (("style", "page.css"), ("script", "sortable.min.js")):
        content = re.search(f"<{tag}>(.*?)</{tag}>", written.text, re.DOTALL)[1]
        assert content == (ASSETS / name).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policies[0]


def test_every_link_leads_to_one_place_on_the_page(elements):
    ids = [attrs["id"] for _, attrs in elements.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for tag, attrs in elements.tags if tag == "a"]
    assert len(links) > 10
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_the_answer_comes_first_then_figures_tables_settings_and_machine(elements, written):
    order = [text for text in elements.text_of("h2") if text.strip()]
    assert order == ["Answer", "Figures", "Tables", "Settings", "Cost", "Machine and versions"]
    headline = written.file.parent.joinpath("tables/verdict.txt").read_text(encoding="utf-8")
    shown = " ".join(" ".join(elements.text_of("p")).replace("\u00a0", " ").split())
    assert " ".join(headline.partition("\n\n")[0].split()) in shown
    tables = [attrs["id"] for _, attrs in elements.tags if attrs.get("id", "").startswith("table-")]
    assert tables[0] == "table-arms"


def test_a_page_is_written_where_there_are_only_arms_and_one_seed(tmp_path):
    """The smallest run: no figure, no rival, no interval."""
    page = Page(tmp_path)
    arms = pd.read_csv(page.tables["arms"]).assign(n_seeds=1)
    ends = [name for name in arms if name.endswith(("_low", "_high"))]
    arms.assign(**dict.fromkeys(ends, float("nan"))).to_csv(page.tables["arms"], index=False)
    text = page.write().read_text(encoding="utf-8")
    assert "4 layers · 1 seed · 1,000 test tokens" in text
    assert "nan" not in Elements(text).text_of("td")


def test_a_long_text_falls_into_its_sections():
    text = (
        "Best: one.\n\n## Quality and cost\n\nA line\nand another.\n\nMore.\n\n## Circuits\n\nC.\n"
    )
    assert sections(text) == [
        ("", ["Best: one."]),
        ("Quality and cost", ["A line and another.", "More."]),
        ("Circuits", ["C."]),
    ]
