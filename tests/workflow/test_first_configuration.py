"""From a model and a text of one's own to a run: what `clustersae init` writes is ready for it."""

import os
import subprocess
import sys

from language_models import save_tiny_model
from snakemake_project import jobs
from tiny_tokenizers import word_level


def test_what_init_writes_is_ready_to_run(fresh):
    folder = save_tiny_model("llama", fresh.folder / "models" / "tiny-llama")
    words = ["w0", "<|endoftext|>", *(f"w{number}" for number in range(2, 50))]
    word_level(words, ["w0"]).save(str(folder / "tokenizer.json"))
    (fresh.folder / "text.txt").write_text("w3 w4 w5 w7 w9 <|endoftext|> " * 5000)
    command = ["-m", "clustersae", "init", "--model", "models/tiny-llama", "--text", "text.txt"]
    said = subprocess.run(
        [sys.executable, *command],
        cwd=fresh.folder,
        env={**os.environ, "PYTHONPATH": "workflow/scripts"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stderr == ""
    last = next(line for line in said.stdout.splitlines() if "snakemake" in line)
    arguments = last.partition("snakemake ")[2].split()
    planned = fresh.snakemake("-n", *arguments)
    assert planned.returncode == 0, planned.stdout
    assert {"import_model", "tokenise_corpus"} <= set(jobs(planned.stdout))
