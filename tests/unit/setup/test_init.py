"""`clustersae init` as a user calls it."""

import re
import shlex

import pytest
import yaml
from configurations import load
from language_models import save_tiny_model
from tiny_tokenizers import bytes_level

from clustersae.__main__ import main
from clustersae.runtime.machine import Machine
from clustersae.setup import speed


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A model and a text in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "MEASURED_SECONDS", 0.01)
    folder = save_tiny_model("gpt2", tmp_path / "tiny-gpt2")
    bytes_level([]).save(str(folder / "tokenizer.json"))
    (tmp_path / "text.txt").write_text("w3 <|endoftext|> w4 " * 5000)
    return tmp_path


def init(*more: str) -> int:
    return main(["init", "--model", "tiny-gpt2", "--text", "text.txt", *more])


def test_it_writes_a_configuration_and_says_what_it_costs(here, capsys):
    assert init() == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "Model tiny-gpt2: 3 layers, d_model 16, vocabulary 50, float32." in said.out
    assert "about 100,000 tokens" in said.out
    assert "documents between <|endoftext|>" in said.out
    assert re.search(r"^per-layer +3 +3 ", said.out, re.MULTILINE)
    assert "snakemake --cores all --resources gpu=0 --configfile tiny-gpt2.yaml" in said.out
    assert list(load(yaml.safe_load((here / "tiny-gpt2.yaml").read_text()))) == ["tiny-gpt2"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("tiny-gpt2", "tiny-gpt2 is a folder: name a file in it with --output."),
        ("text.txt/a.yaml", "text.txt/a.yaml cannot be written ("),
        ("/proc/a.yaml", "/proc/a.yaml cannot be written ("),
    ],
)
def test_a_place_where_nothing_can_be_written_is_named(here, capsys, place, said):
    assert init("--output", place, "--force") == 1
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_no_file_is_replaced_unasked(here, capsys):
    (here / "mine.yaml").write_text("mine")
    assert init("--output", "mine.yaml") == 1
    assert capsys.readouterr().err == (
        "error: mine.yaml exists. Name another file with --output, or replace it with --force.\n"
    )
    assert (here / "mine.yaml").read_text() == "mine"
    assert init("--output", "mine.yaml", "--force") == 0
    assert (here / "mine.yaml").read_text().startswith("# tiny-gpt2: 3 layers")


def test_a_configuration_elsewhere_names_whole_paths(here):
    (here / "configs").mkdir()
    assert init("--output", "configs/mine.yaml") == 0
    settings = yaml.safe_load((here / "configs" / "mine.yaml").read_text())["models"]["tiny-gpt2"]
    assert settings["path"] == str(here / "tiny-gpt2")
    assert settings["corpus"]["files"] == [str(here / "text.txt")]


@pytest.mark.parametrize("name", ["a b", "a\x7fb", "a\x07\U0001f600b"])
def test_any_name_of_a_text_can_be_written(here, name):
    (here / "text.txt").rename(here / name)
    assert main(["init", "--model", "tiny-gpt2", "--text", f"./{name}"]) == 0
    written = yaml.safe_load((here / "tiny-gpt2.yaml").read_text())
    assert written["models"]["tiny-gpt2"]["corpus"]["files"] == [name]


def test_the_command_to_go_on_with_can_be_pasted(here, capsys):
    assert init("--output", "my dir/c\x7f.yaml") == 0
    said = next(line for line in capsys.readouterr().out.splitlines() if "--configfile" in line)
    assert shlex.split(said)[-1] == "my dir/c\x7f.yaml"
    comment = (here / "my dir" / "c\x7f.yaml").read_text().splitlines()[1]
    assert comment.endswith("--resources gpu=1 --configfile 'my dir/c\\U0000007f.yaml'")


def test_a_mistake_is_one_line_and_leaves_no_file(here, capsys):
    assert main(["init", "--model", "tiny", "--text", "text.txt"]) == 1
    assert re.fullmatch(r"error: --model tiny: .*\n", capsys.readouterr().err)
    assert not list(here.glob("*.yaml"))


def test_memory_that_jobs_exceed_is_said(here, capsys, monkeypatch):
    small = Machine(cores=50, memory=1 << 20, disk=1 << 40, gpu=None)
    monkeypatch.setattr("clustersae.setup.command.look_at_machine", lambda folder: small)
    assert init() == 0
    said = capsys.readouterr().out
    assert "a job of train_sae wants about 500" in said
    assert "this machine has 1.0 MB: lower sae.batch_size" in said


@pytest.mark.parametrize("again", ["text.txt", "./text.txt", "link.txt"])
def test_a_text_that_is_given_twice_is_refused(here, capsys, again):
    (here / "link.txt").symlink_to("text.txt")
    assert init(again) == 1
    same = "text.txt" if again == "./text.txt" else again
    assert capsys.readouterr().err.startswith(
        f"error: --text: text.txt and {same} are the same file"
    )
