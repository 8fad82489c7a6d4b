"""A mistake in a configuration file is shown by file, line and key."""

import re

import pytest
import yaml
from configurations import SCHEMA, bare_model, load
from snakemake_project import merged

from clustersae.experiment.config import load as load_config
from clustersae.experiment.places import check_duplicates, key_lines, placed
from clustersae.runtime.errors import InputError

FILE = """\
# A comment.
models:
  my.model-1:
    path: llama
    corpus: {source: text, files: [text.txt]}
    sae:
      k: 4

activations:
  tokens: {train: 2000,
    validation: 400, test: 400}
sae:
  d_sae: 32
  k: 4
  training_tokens: 4000
  batch_size: 128
  learning_rate:
    - 0.01
    - 0.02
arms: &arms
  shared: {counts: [2]}
  specialised:
    - {from: 1, budgets: [0.5]}
  auto: []
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Once upon a time.")
    bare_model(tmp_path / "llama", {"n_layer": 4, "n_embd": 8})
    return tmp_path


#: What is replaced, by what, and what is then said.
WRONG = [
    ("activations:", "activation:", "line 9: unknown key 'activation' in the top level; allowed"),
    ("  batch_size", "  batchsize", "line 16: unknown key 'batchsize' in sae; allowed are"),
    ("      k: 4", "      kk: 4", "line 7: unknown key 'kk' in models.my.model-1.sae; allowed"),
    ("validation: 400", "validation: 0", "line 11: activations.tokens.validation is 0, but must"),
    ("    - 0.02", "    - 2e-2", 'line 19: sae.learning_rate.1 is "2e-2", but must be a number'),
    ("counts: [2]", "counts: [5]", "line 21: models.my.model-1: arms.shared.counts asks for 5"),
    ("{from: 1,", "{from: 4,", "line 22: models.my.model-1: arms.specialised starts from 4"),
    ("      k: 4", "      k: 33", "line 7: models.my.model-1: sae.k is 33, more than the 32"),
    ("path: llama", "path: lama", "line 4: models.my.model-1.path: lama is not a directory"),
    ("[text.txt]", "[txt.txt]", "line 5: models.my.model-1.corpus.files: txt.txt does not exist"),
    ("source: text,", "", "line 5: models.my.model-1.corpus lacks 'source'."),
    ("  my.model-1:", "  my model:", 'line 3: models has the name "my model", but a name is up to'),
    ("  auto: []", "  sae: 3", "line 24: unknown key 'sae' in arms; allowed are auto, controls"),
    ("  d_sae: 32", "  d_sae: 3", "line 7: models.my.model-1: sae.k is 4, more than the 3"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_a_mistake_has_its_line(here, old, new, said):
    assert FILE.count(old) == 1
    (here / "my.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(InputError) as error:
        load(yaml.safe_load((here / "my.yaml").read_text()))
    message = placed(str(error.value), ["my.yaml"])
    assert message.startswith(f"my.yaml, {said}")
    assert "config: " not in message


def test_a_mistake_on_the_command_line_is_not_looked_for_in_a_file(here):
    (here / "my.yaml").write_text(FILE)
    spoken = {"sae": {"k": "0", "learning_rate": ["0.1", "x"]}}
    config = merged(yaml.safe_load(FILE), spoken)
    for model in config["models"].values():
        del model["sae"]
    with pytest.raises(InputError) as error:
        load_config(config, SCHEMA, command_line=spoken)
    said = placed(str(error.value), ["my.yaml"], spoken)
    assert said.startswith("--config: sae.k is 0, but must be at least 1.")
    said = placed("config: sae.k is 0.", ["my.yaml"], spoken)
    assert said == "--config: sae.k is 0."
    said = placed("config: sae.d_sae is 0.", ["my.yaml"], spoken)
    assert said == "my.yaml, line 13: sae.d_sae is 0."


def test_what_was_left_out_is_shown_where_its_section_stands(here):
    (here / "my.yaml").write_text(FILE)
    name = "models.my.model-1"
    said = placed(f"config: {name}: arms.margins.mean is 0.", ["my.yaml"])
    assert said == f"my.yaml, line 20: {name}: arms.margins.mean is 0."
    said = placed(f"config: {name}: evaluation.seed is -1.", ["my.yaml"])
    assert said == f"my.yaml, line 3: {name}: evaluation.seed is -1."


def test_the_file_without_mistakes_is_valid(here):
    assert list(load(yaml.safe_load(FILE))) == ["my.model-1"]


def test_of_several_files_the_last_that_has_the_key_is_named(here):
    (here / "first.yaml").write_text("sae: {k: 0}\narms: {}\n")
    (here / "second.yaml").write_text("\n\nsae: {k: 0}\n")
    files = ["first.yaml", "second.yaml"]
    assert placed("config: sae.k is 0.", files) == "second.yaml, line 3: sae.k is 0."
    assert placed("config: arms is 0.", files) == "first.yaml, line 2: arms is 0."


@pytest.mark.parametrize(
    "message", ["config: clustering.seed is -1.", "broken/config.json is no JSON.", "config: [] is"]
)
def test_what_no_file_has_keeps_its_message(here, message):
    (here / "my.yaml").write_text(FILE)
    assert placed(message, ["my.yaml"]) == message
    assert placed(message, []) == message


def test_a_key_that_is_given_twice_is_refused(here):
    (here / "my.yaml").write_text(f"{FILE}sae:\n  k: 5\n")
    said = "my.yaml, line 25: sae is given a second time, after line 12: take out one of them."
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        check_duplicates(["my.yaml"])


def test_merged_sections_may_override_what_they_merge(here):
    (here / "my.yaml").write_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\nc: [&d {e: *a}, *d]\n")
    check_duplicates(["my.yaml"])
    lines = key_lines("my.yaml")
    assert (lines["b.x"], lines["b.y"], lines["c.1.e.y"]) == (4, 1, 1)
