"""A wrong section `language_models` is refused in one line that names the key and the remedy."""

import re
import zipfile

import pytest
import yaml
from configurations import language_models
from snakemake_project import TINY, UNSAID, merged

from clustersae.experiment.config import Trained
from clustersae.pretraining.config import known
from clustersae.runtime.errors import InputError


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The tiny experiment in a folder with its text, once more as an archive."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Once upon a time.")
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("text8", "Once upon a time.")
    return yaml.safe_load(TINY.read_text())


def tiny(**changes):
    return {"language_models": {"tiny": changes}}


def named(**changes):
    corpus = {"source": "named", "name": "text8", "path": "text.txt", "checksum": "any"}
    return tiny(corpus=corpus | UNSAID | changes)


WRONG = [
    (tiny(kk=1), "unknown key 'kk' in language_models.tiny; allowed are architecture, corpus"),
    ({"language_models": {"a/b": {}}}, 'language_models has the name "a/b", but a name is'),
    ({"language_models": {"m\n": {}}}, r'language_models has the name "m\n", but a name is'),
    *(
        ({"language_models": {name: {"corpus": {"source": "toy-english"}}}}, f"{name}: a file is")
        for name in ("trainings.json", "trainings.csv", "tabulate_trainings.log")
    ),
    ({"language_models": {"b": {}}}, "language_models.b lacks 'corpus'"),
    (tiny(architecture={"n_heads": 3}), "n_heads = 3 does not divide d_model = 16"),
    (tiny(architecture={"n_layers": 1001}), "n_layers is 1001, but must be at most 1000"),
    (tiny(architecture={"initializer_range": 0}), "initializer_range is 0, but must be above 0"),
    # training
    (tiny(training={"sampling": "words"}), 'tiny.training.sampling is "words", but must be rows'),
    (
        tiny(training={"seed": 3, "other_seeds": [3], "record": True}),
        "seeds has 3, which is training.seed",
    ),
    (tiny(training={"other_seeds": [3]}), "record to true, or leave other_seeds out"),
    (tiny(training={"published": "text8"}), "record to true, or leave published out"),
    (tiny(training={"published": "text9", "record": True}), "be shakespeare_char or enwik8 or"),
    (tiny(training={"published": "text8", "record": True}), "and this model reads another text"),
    (tiny(training={"evaluate_batches": 0}), "evaluate_batches is 0, but must be at least 1"),
    (
        tiny(corpus={"source": "toy-english", **UNSAID}, training={"sampling": "offsets"}),
        "language_models.tiny.training.sampling: the rows of toy-english are sentences of their",
    ),
    (
        tiny(corpus={"source": "toy-english", **UNSAID}, training={"record": True}),
        "language_models.tiny.training.record is for models of characters",
    ),
    # texts
    (tiny(corpus={"files": ["no.txt"]}), "tiny.corpus.files: no.txt does not exist or is no file"),
    (
        tiny(corpus={"source": "named", **UNSAID}),
        "tiny.corpus.name is missing: write one of shakespeare_char, enwik8, text8",
    ),
    (named(name="wiki"), 'corpus.name is "wiki", but must be shakespeare_char or enwik8 or text8'),
    (named(max_tokens=99), "corpus.max_tokens: text8 is read as a whole, with the splits of"),
    (named(path="no.txt"), "language_models.tiny.corpus.path: no.txt does not exist or is no file"),
    (named(path="text.zip"), "corpus.path: text.zip is a zip archive. Unpack it"),
    (
        named(path="text.txt", checksum="published"),
        "text.txt has 17 bytes, but text8 as published has 100000000. Name another file or, if"
        " this one is meant, write checksum: any",
    ),
    (named(path=None), "corpus.checksum: any is for a file of your own: name it in path"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_mistake_is_named_with_what_is_allowed(config, changes, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        language_models(merged(config, changes))
    assert str(error.value).startswith("config: ")
    assert "\n" not in str(error.value)


def test_a_named_corpus_needs_no_file(config):
    corpus = {"source": "named", "name": "shakespeare_char"}
    config["language_models"]["tiny"]["corpus"] = corpus
    settings = language_models(config)["tiny"]["corpus"]
    assert (settings["path"], settings["cache"], settings["checksum"]) == (None, None, "published")


def test_what_is_known_of_a_model_before_it_is_trained(config):
    toy = {"corpus": {"source": "toy-english"}}
    shakespeare = {"corpus": {"source": "named", "name": "shakespeare_char", "n_ctx": 256}}
    own = merged(named(), {})["language_models"]["tiny"]
    config["language_models"] |= {"toy": toy, "shakespeare": shakespeare, "own": own}
    assert known(language_models(config)) == {
        "tiny": Trained(3, 16, toy_english=False),
        "toy": Trained(6, 96, toy_english=True),
        # Published losses are of the last tenth, and test is its second half.
        "shakespeare": Trained(6, 96, toy_english=False, max_validation_tokens=217 * 255),
        "own": Trained(6, 96, toy_english=False),
    }
