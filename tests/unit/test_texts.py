"""What people read: links lead somewhere, and the README stays short."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TEXTS = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "results/README.md"]
)
#: Below the library's folder; texts name its files without the way there.
LIBRARY = REPOSITORY / "workflow" / "scripts" / "clustersae"


def prose(file: Path) -> str:
    return re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings(file):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(file)):
        path, _, heading = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (file.parent / path) if path else file
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert heading in slugs, link


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/{name}.md" for name in ("layout", "measurements", "method", "reruns", "slurm")),
    ],
)
def test_files_of_the_library_that_are_named_exist(file):
    names = re.findall(r"`(?:clustersae/)?([a-z]\w*/[\w/]*(?:\.py)?)`", prose(REPOSITORY / file))
    packages = {path.name for path in LIBRARY.iterdir()}
    named = [name for name in names if name.partition("/")[0] in packages]
    assert [name for name in named if not (LIBRARY / name).exists()] == []


def test_the_readme_is_read_in_five_minutes():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= 900
