"""How long the feature browser takes to show and to search 50,000 latents, in Chromium.

    PYTHONPATH=workflow/scripts:tests python tests/benchmarks/browser_page.py [PAGE]

Without PAGE, a page of invented latents. Prints medians over REPEATS and the worst.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from chromium import chromium
from synthetic_browser import Run

REPEATS = 7
N_SHARED, N_ALONE = 20_000, 5_000
QUERIES = ("word17", "zebra lion", "e", "no such words", "#17")

#: Milliseconds from the input of a query to the frame that shows what was found.
SEARCH = """async query => {
  const field = document.getElementById("search");
  const start = performance.now();
  field.value = query;
  field.dispatchEvent(new Event("input"));
  const found = performance.now();
  await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));
  return [found - start, performance.now() - start];
}"""
#: Milliseconds from sorting anew to the frame that shows it.
SORT = """async key => {
  const start = performance.now();
  document.getElementById("sort").value = key;
  document.getElementById("sort").dispatchEvent(new Event("change"));
  await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - start;
}"""
#: Milliseconds from the address of a latent to its passages.
OPEN = """async address => {
  const start = performance.now();
  location.hash = address;
  while (!document.querySelector("#latent .context")) {
    await new Promise(resolve => setTimeout(resolve));
  }
  return performance.now() - start;
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def report(name: str, values: list[float]) -> None:
    print(f"{name:32} {statistics.median(values):7.0f} ms, worst {max(values):.0f} ms")


def main(path: Path) -> None:
    times: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        times.setdefault(name, []).append(value)

    with chromium() as browser:
        for _ in range(REPEATS):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(path.as_uri())
            page.wait_for_selector("#rows [role=row]")
            add("first rows", page.evaluate("performance.now()"))
            page.wait_for_selector("body[data-ready]", state="attached")
            add("all latents read", page.evaluate("performance.now()"))
            add("first contentful paint", page.evaluate(PAINT))
            for query in QUERIES:
                found, shown = page.evaluate(SEARCH, query)
                add(f"search {query!r}", found)
                add("search, until it is drawn", shown)
            page.evaluate(SEARCH, "")
            for key in ("density", "spread", "label"):
                add(f"sort by {key}", page.evaluate(SORT, key))
            add("open a latent", page.evaluate(OPEN, "#g0/3"))
            page.close()
    for name, values in times.items():
        report(name, values)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Run(Path(folder), N_SHARED, N_ALONE).build())
