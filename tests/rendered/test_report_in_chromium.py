"""The page as readers have it: in a real browser, from a file, without a network."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import chromium
from playwright.sync_api import Browser, Page
from synthetic_page import Written, hostile_page

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Written:
    return hostile_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser, written, request):
    """Opens the page; at the end nothing has been asked for elsewhere, and nothing complained."""
    asked: list[str] = []
    complaints: list[str] = []

    def open_page(**options) -> Page:
        page = browser.new_page(**options)
        request.addfinalizer(page.close)
        page.set_default_timeout(120_000)  # other tests may run beside this one
        page.on("request", lambda each: asked.append(each.url))
        page.on("console", lambda each: complaints.append(each.text))
        page.on("pageerror", lambda each: complaints.append(str(each)))
        page.goto(written.file.as_uri())
        return page

    yield open_page
    assert complaints == []
    elsewhere = [url for url in asked if not url.startswith("data:")]
    assert set(elsewhere) == {written.file.as_uri()}


def cells(page: Page, table: str, column: int) -> list[str]:
    rows = page.locator(f"[aria-label='Table {table}'] tbody tr").all()
    return [row.locator("td").nth(column).inner_text() for row in rows]


def sort(page: Page, table: str, column: int, key: str | None = None) -> str:
    """Click on the head of a column, or press `key` there; the direction that it then says."""
    head = page.locator(f"[aria-label='Table {table}'] thead th").nth(column)
    table_ = page.locator(f"[aria-label='Table {table}'] table")
    # The library sorts a moment later and says when it is done.
    table_.evaluate("each => each.addEventListener('sort-end', () => each.dataset.sorted = 'yes')")
    table_.evaluate("each => delete each.dataset.sorted")
    if key:
        head.locator("button").press(key)
    else:
        head.locator("button").click()
    page.wait_for_selector(f"[aria-label='Table {table}'] table[data-sorted]")
    return head.get_attribute("aria-sort")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_figure_is_drawn_and_nothing_is_wider_than_the_screen(opened, size):
    page = opened(viewport=size)
    drawn = page.evaluate("[...document.images].map(each => [each.naturalWidth, each.width])")
    assert len(drawn) == 3
    assert all(natural > 300 and shown > 300 for natural, shown in drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    pixels = page.locator("figure img").first.screenshot()
    assert len(pixels) > 5000  # an empty white box is far less


def test_tables_sort_by_their_full_values_both_ways_and_by_keyboard(opened):
    page = opened()
    # 80 after 9 and 10: as numbers; a click on a number's column, then a second one.
    assert sort(page, "tasks", 2) == "ascending"
    assert cells(page, "tasks", 2) == ["9", "10", "80"]
    assert sort(page, "tasks", 2) == "descending"
    assert cells(page, "tasks", 2) == ["80", "10", "9"]
    assert sort(page, "tasks", 1, key="Enter") == "ascending"
    assert cells(page, "tasks", 1) == ["0.25", "0.5", ""]  # what is missing comes last
    assert sort(page, "tasks", 1, key="Space") == "descending"
    assert cells(page, "tasks", 1) == ["0.5", "0.25", ""]
    assert page.locator("[aria-label='Table tasks'] th[aria-sort]").count() == 1


def test_arms_sort_by_number_not_by_the_look_of_it(opened):
    page = opened()
    heads = page.locator("[aria-label='Table arms'] thead th").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.startswith("mean excess"))
    sort(page, "arms", place)
    shown = [re.match(r"[+−]?[\d.]+", text) for text in cells(page, "arms", place) if text]
    numbers = [float(each[0].replace("−", "-")) for each in shown]
    assert len(numbers) > 3
    assert numbers == sorted(numbers)


def test_links_bring_their_place_onto_the_screen(opened):
    page = opened(viewport=PHONE)
    links = page.locator("a").all()
    assert len(links) > 10
    for link in links:
        target = page.locator(link.get_attribute("href"))
        page.evaluate("window.scrollTo(0, 0)")
        link.click()
        page.wait_for_function("location.hash.length > 1")
        box = target.bounding_box()
        assert box is not None
        assert -1 <= box["y"] < PHONE["height"], link.inner_text()


def test_long_tables_are_folded_until_they_are_opened(opened):
    page = opened()
    grid = page.locator("[aria-label='Table words']")
    assert not grid.is_visible()
    page.locator("#table-words").click()
    assert grid.is_visible()
    assert grid.locator("tbody tr").count() == 30


def test_no_text_of_a_user_runs(opened):
    page = opened()
    page.evaluate(OPEN_ALL)
    assert page.title().endswith(": clustered SAEs")
    assert "document.title" in page.locator("h1").inner_text()


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_axe_finds_no_obstacle(opened, size, scheme):
    """Contrast, names of tables and buttons, order of headings, what the keyboard reaches."""
    page = opened(viewport=size, color_scheme=scheme)
    page.evaluate(OPEN_ALL)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    checked = {each["id"] for each in found.response["passes"]}
    assert "color-contrast" in checked


def test_on_paper_nothing_is_cut_off(opened):
    page = opened(viewport={"width": 703, "height": 1000})  # A4 without its margins, at 96 dpi
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert not page.locator("nav").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
