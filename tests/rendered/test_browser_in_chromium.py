"""The page in real Chromium, opened from a file: 50,000 latents, and text that would like to run.

Times that were seen stand in docs/browser.md.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import chromium
from synthetic_browser import EVIL, GONE, HOSTILE, TWIN, Run

N_SHARED, N_ALONE = 20_000, 5_000
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A page of 50,000 latents."""
    folder = tmp_path_factory.mktemp("a run #1 & 50 %")  # must be no trouble in an address
    return Run(folder, N_SHARED, N_ALONE, judged=True).build()


class Reader:
    """A page that was opened, and everything that went wrong on it."""

    def __init__(self, browser, path, viewport, fragment="", **settings):
        self.context = browser.new_context(viewport=viewport, **settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # other tests may run beside this one
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._dismissed)
        self.page.on(
            "request",
            lambda request: request.url.startswith("file://") or self.wrong.append(request.url),
        )
        self.page.goto(path.as_uri() + fragment)
        self.page.wait_for_selector("body[data-ready]", state="attached")

    def _dismissed(self, dialog):
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def search(self, text):
        self.page.fill("#search", text)
        self.page.wait_for_function("() => !drawing")

    def choose(self, group, latent):
        self.page.evaluate("hash => { location.hash = hash; }", f"g{group}/{latent}")
        self.page.wait_for_function(
            "([g, l]) => state.chosen?.[0] === g && state.chosen[1] === l", arg=[group, latent]
        )

    def rows(self):
        """(index, meaning) of the rows that are drawn."""
        return [
            (int(row.locator(".name").inner_text()), row.locator(".label > span").inner_text())
            for row in self.page.locator("#rows [role=row]").all()
        ]

    def text(self, selector):
        return self.page.locator(selector).inner_text()


@pytest.fixture
def opened(browser, large):
    readers = []

    def reader(viewport=WIDE, path=large, **settings):
        readers.append(Reader(browser, path, viewport, **settings))
        return readers[-1]

    yield reader
    for each in readers:
        assert each.wrong == []
        each.context.close()


def test_fifty_thousand_latents_are_listed_but_not_drawn(opened):
    reader = opened()
    # One fires in the root alone.
    assert reader.text("#count") == "49,999 of 49,999 latents that fire"
    assert reader.page.locator("#rows [role=row]").count() < 60
    assert reader.page.get_attribute("#grid", "aria-rowcount") == "50000"


def test_search_finds_words_everywhere_and_latents_by_number(opened):
    reader = opened()
    reader.search("WORD17")
    # word17, word170 to word179 and so on: as a part, in any case.
    expected = sum(
        "word17" in f"word{latent}" for n in (N_SHARED, N_SHARED, N_ALONE, N_ALONE)
        for latent in range(n)
    )  # fmt: skip
    assert reader.text("#count").startswith(f"{expected:,} of ")
    reader.search("#17")
    assert reader.rows() == [(17, "word17")] * 4
    reader.search("zebra stripes lion")
    assert reader.rows() == [(TWIN, "the zebra")]
    reader.search("no such words")
    assert reader.rows() == []
    reader.search("")
    assert reader.text("#count").startswith("49,999 of")


def test_one_sae_can_be_listed_alone(opened):
    reader = opened()
    reader.page.select_option("#group", label="layer 1 (5,000 of 5,000 fire)")
    assert reader.text("#count").startswith("5,000 of 49,999")


def test_rows_are_sorted_by_numbers_with_unknown_ones_last(opened):
    reader = opened()
    reader.page.select_option("#group", "0")

    def densities():
        return [
            float(row.locator("[data-name=density]").inner_text().removesuffix(" %"))
            for row in reader.page.locator("#rows [role=row]").all()
        ]

    reader.page.click("#head >> text=Density")
    assert densities() == sorted(densities(), reverse=True)
    assert densities()[0] == 50
    assert reader.page.get_attribute("#head [aria-sort]", "aria-sort") == "descending"
    reader.page.click("#direction")
    assert densities() == sorted(densities())
    assert reader.rows()[0][0] == 0
    reader.page.select_option("#sort", "factor")
    assert reader.rows()[0][0] == HOSTILE
    reader.page.click("#direction")
    assert reader.rows()[0][0] == HOSTILE  # the only one with a factor
    reader.page.select_option("#sort", "spread")
    assert reader.rows()[0][0] == TWIN
    reader.page.select_option("#sort", "kept")
    reader.page.keyboard.press("Escape")
    reader.page.click("#direction")
    assert reader.rows()[0][0] == TWIN  # nothing of it holds elsewhere


def test_a_latent_shows_contexts_of_two_layers_beside_what_has_become_of_it(opened):
    reader = opened()
    reader.search("zebra lion")
    reader.page.click("#rows [role=row]")
    reader.page.wait_for_selector("#latent h2")
    assert reader.text("#latent h2") == f"Latent {TWIN}"
    assert reader.text("#latent .meaning") == "the zebra"
    sections = reader.page.locator("#latent .layer")
    assert sections.locator("h4").all_inner_texts() == ["Layer 0", "Layer 1"]
    for layer, (own, child) in enumerate([("zebra", "zebra"), ("lion", "zebra")]):
        sides = sections.nth(layer).locator(".side")
        assert sides.count() == 2
        for side, animal in zip(sides.all(), (own, child)):
            passages = side.locator("li")
            assert passages.count() == 3
            peaks = side.locator(".token.peak").all_inner_texts()
            assert peaks == [animal] * 3
            assert f"number1the{animal}run" in passages.nth(1).inner_text()
            side.get_by_role("button", name="1 more").click()
            assert passages.count() == 4
    assert "fine-tuned from 1 SAE, 50 %" in sections.first.inner_text()
    # The darker the more active: "the" is a twentieth of the peak.
    shades = sections.first.locator(".token").evaluate_all(
        "spans => spans.slice(0, 2).map(span => Number(span.style.getPropertyValue('--part')))"
    )
    assert shades == [0.05, 1]
    tables = reader.page.locator("#latent table").all_inner_texts()
    assert any("cosine to start" in table and "0.80" in table for table in tables)
    assert any("stripes" in table and "tax" in table for table in tables)


def test_a_rule_shows_on_which_layers_it_holds(opened):
    reader = opened()
    reader.choose(0, TWIN)
    cells = reader.page.locator("#latent table").nth(1).locator("td.number")
    assert cells.all_inner_texts() == ["1.00", "0.50", "0.40", "0.95"]
    assert reader.page.locator("#latent td.holds").count() == 0
    reader.choose(1, TWIN)
    assert reader.page.locator("#latent td.holds").count() == 2


def test_what_fires_in_the_root_alone_says_so(opened):
    reader = opened()
    reader.choose(0, GONE)
    assert "It fires nowhere in: fine-tuned from 1 SAE" in reader.text("#latent")
    reader.choose(1, GONE)
    assert "It fires at no token" in reader.text("#latent")


def test_near_latents_lead_to_the_per_layer_saes(opened):
    reader = opened()
    reader.choose(0, TWIN)
    reader.page.locator("#latent a", has_text="#2").nth(1).click()
    reader.page.wait_for_function("() => state.chosen?.[1] === 2")
    assert "per-layer, full; layer 1" in reader.text("#latent")
    reader.page.go_back()
    reader.page.wait_for_function(f"() => state.chosen?.[1] === {TWIN}")


def test_next_is_next_to_what_is_shown_wherever_one_came_from(opened):
    reader = opened()
    reader.page.select_option("#sort", "name")
    reader.page.select_option("#group", "0")

    def leads_to(step, before):
        step()
        other = "text => document.querySelector('#latent h2')?.textContent !== text"
        reader.page.wait_for_function(other, arg=f"Latent {before}")
        return int(reader.text("#latent h2").removeprefix("Latent "))

    following, earlier = (
        reader.page.get_by_role("button", name=name).click for name in ("Next", "Previous")
    )
    reader.choose(0, 3)
    assert leads_to(following, 3) == 4
    assert leads_to(reader.page.go_back, 4) == 3
    assert leads_to(following, 3) == 4
    reader.choose(0, 40)
    assert leads_to(earlier, 40) == 39


def test_passages_may_have_any_number_of_tokens(opened):
    # 200,000 activations of one latent: 40 layers, 50 contexts of 100 tokens, all of them active.
    peak = opened().page.evaluate("""() => {
        const active = Array.from({ length: 400_000 }, (_, place) => place);
        const layer = [0, 1, 1, 1, [[0, [], active]], null, null, null, null, null, null, null];
        pieces.set("g0/0", Promise.resolve({ words: [], latents: [[0, [layer]]] }));
        return read(0, 0).then(({ peak }) => peak);
    }""")
    assert peak == 399_999


def test_a_latent_has_an_address(browser, large):
    reader = Reader(browser, large, WIDE, f"#g0/{TWIN}")
    reader.page.wait_for_selector("#latent h2")
    assert reader.text("#latent h2") == f"Latent {TWIN}"
    assert reader.wrong == []


def test_hostile_text_stays_text(opened):
    reader = opened()
    scripts = "document.scripts.length"
    before = reader.page.evaluate(scripts)
    for group in (0, 1):
        reader.choose(group, HOSTILE)
        passage = reader.page.locator("#latent li").first.locator("[data-text]")
        shown = passage.all_text_contents()
        assert shown[0] == EVIL[0]
        assert shown[1] == EVIL[1]
        assert shown[2] == "⟨202E⟩gnp.exe⟨202C⟩"  # not turned around
        assert shown[3] == "⟨2028⟩alert(3)⟨2029⟩"
        assert shown[4] == "__proto__"
        assert shown[6] == "⟨0000⟩⟨001B⟩[31m⟨FEFF⟩"
        assert shown[7] == EVIL[7]
        direction = passage.first.evaluate("span => getComputedStyle(span).unicodeBidi")
        assert direction == "isolate"
    reader.search("<script>alert")
    assert [latent for latent, _ in reader.rows()] == [HOSTILE] * 4
    assert reader.page.locator("#detail img, #list img").count() == 0
    assert reader.page.evaluate(scripts) == before
    # The page forbids what its code would not do anyway.
    unwanted = "<img src=x onerror=hit=1>"
    reader.page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", unwanted)
    reader.page.wait_for_timeout(100)
    assert reader.page.evaluate("typeof hit") == "undefined"
    assert all("Content Security Policy" in each for each in reader.wrong)
    reader.wrong.clear()


def test_the_list_is_used_by_keyboard(opened):
    reader = opened()
    page = reader.page
    page.keyboard.press("/")
    page.keyboard.type("word1")
    page.focus("#grid")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => !drawing")
    assert page.get_attribute("#grid", "aria-activedescendant") == "row-2"
    second = int(page.locator("#row-2 .name").inner_text())
    page.keyboard.press("End")
    page.wait_for_function("() => !drawing")
    last = page.get_attribute("#grid", "aria-activedescendant")
    assert int(last.removeprefix("row-")) + 2 == int(page.get_attribute("#grid", "aria-rowcount"))
    assert page.locator(f"#{last}").is_visible()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#latent h2")
    assert reader.text("#latent h2") == f"Latent {second}"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "grid"


def test_a_phone_shows_the_list_or_a_latent(opened):
    reader = opened(PHONE)
    page = reader.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert not page.is_visible("#detail")
    page.click("#rows [role=row]")
    page.wait_for_selector("#latent h2")
    assert not page.is_visible("#list")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.click("text=← List")
    assert page.is_visible("#list")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_nothing_keeps_readers_out(opened, viewport, scheme):
    """Contrast, names, roles and order, by axe-core."""
    reader = opened(viewport, color_scheme=scheme, bypass_csp=True)
    for view in ("list", "latent"):
        if view == "latent":
            reader.choose(0, TWIN)
        found = Axe().run(reader.page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], view
        reader.wrong.clear()  # axe-core itself tries to fetch the style sheet


def test_a_piece_that_is_missing_is_named(browser, tmp_path):
    page = Run(tmp_path).build()
    (page.parent / "data/g0/0.js").unlink()
    reader = Reader(browser, page, WIDE, f"#g0/{TWIN}")
    reader.page.wait_for_selector("#failure:visible")
    assert "data/g0/0.js cannot be read" in reader.text("#failure")
