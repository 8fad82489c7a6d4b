"""A copy of the workflow in a folder of its own, and Snakemake run there as a user would."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = REPOSITORY / "tests" / "configs" / "tiny.yaml"
#: Takes back what TINY says of its text and corpora of other sources cannot read.
UNSAID: dict[str, Any] = {"files": [], "fractions": {"validation": 0.05, "test": 0.05}}
PARTS = ("Snakefile", "workflow", "envs")
WORDS = ["the", "a", "cat", "dog", "man", "sat", "saw", "ran", "on", "by", "tree", "house"]


class Project:
    """A folder with the workflow and a config.yaml, in which Snakemake can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, config: Path) -> "Project":
        """The repository's workflow with the experiment `config` and the text that it reads."""
        folder.mkdir(parents=True)
        for part in PARTS:
            source = REPOSITORY / part
            if source.is_dir():
                # What other tests' processes are about to write there goes while it is copied.
                half_written = shutil.ignore_patterns("*.pyc.*", "*.cache.*")
                shutil.copytree(source, folder / part, ignore=half_written)
            else:
                shutil.copy2(source, folder / part)
        shutil.copy2(config, folder / "config.yaml")
        (folder / "text.txt").write_text(words(8000), encoding="utf-8")
        (folder / "prompts.jsonl").write_text(prompts(), encoding="utf-8")
        return cls(folder)

    def copy(self, folder: Path) -> "Project":
        """The same with all results and what Snakemake knows about them; time stamps are kept."""
        shutil.copytree(self.folder, folder)
        return Project(folder)

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What it prints on either stream, in `stdout`."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3600,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Really run, on the CPU, and insist that it ends well."""
        result = self.snakemake("--cores", "2", "--resources", "gpu=0", "--", *arguments)
        assert result.returncode == 0, result.stdout
        return result

    def plan(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a run would have, without the target rule itself."""
        result = self.snakemake("-n", *arguments)
        assert result.returncode == 0, result.stdout
        return jobs(result.stdout)

    def configure(self, **sections: Any) -> None:
        """Change config.yaml: a dict is merged into its section, anything else replaces it."""
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(merged(yaml.safe_load(file.read_text()), sections)))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace `old`, which must occur, in a file of the project."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} no longer holds {old!r}: adapt this test"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def files(self) -> list[str]:
        """All results, relative to results/, ordered."""
        root = self.folder / "results"
        return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


def merged(base: Any, changes: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


def jobs(output: str) -> dict[str, int]:
    """The table of jobs that Snakemake prints; empty if there is nothing to be done."""
    if "Nothing to be done" in output:
        return {}
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total ", output, re.MULTILINE | re.DOTALL)
    assert table, output
    rows = (line.split() for line in table[1].splitlines())
    return {rule: int(count) for rule, count in rows if rule != "all"}


def reasons(output: str) -> dict[str, set[str]]:
    """What Snakemake says at the end of a dry run: the rules to run, by reason."""
    block = re.search(r"^Reasons:\n.*?\n(.*?)^(?:This was|\S)", output, re.MULTILINE | re.DOTALL)
    assert block, output
    found = re.findall(r"^    (\S.*):\n        (.*)$", block[1], re.MULTILINE)
    return {reason: set(rules.split(", ")) for reason, rules in found}


def prompts() -> str:
    """Pairs of prompts that call for one animal or the other, in words of `words`."""
    lines = [
        {
            "clean_prefix": f"the {one} {verb} {place} the",
            "patch_prefix": f"the {other} {verb} {place} the",
            "clean_answer": f" {one}",
            "patch_answer": f" {other}",
        }
        for verb, place in product(("sat", "saw", "ran"), ("on", "by"))
        for one, other in permutations(("cat", "dog", "man"), 2)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def words(n_characters: int) -> str:
    """Lines of random words, the same every time."""
    generator = random.Random(0)
    text = ""
    while len(text) < n_characters:
        text += " ".join(generator.choices(WORDS, k=8)) + ".\n"
    return text[:n_characters]
