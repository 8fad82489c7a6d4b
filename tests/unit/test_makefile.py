"""`make help` tells everything that people may make."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout


@needs_make
def test_help_lists_every_target_with_a_sentence():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    lines = make("help").splitlines()
    listed = {re.match(r"make (\S+) +(\S.+)$", line)[1] for line in lines}
    assert listed == {*phony.split(), "data/smollm2"}


@needs_make
def test_make_alone_is_a_run():
    assert make("--dry-run") == make("--dry-run", "run")
