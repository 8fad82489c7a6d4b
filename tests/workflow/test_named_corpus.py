"""A named corpus in the workflow: which jobs it needs, and which changes read it again."""

import json

from snakemake_project import UNSAID

from clustersae.corpora.tokens import read_tokens

SUMMARY = "results/language_models/tiny/corpus/corpus.json"
OWN = {"source": "named", "name": "text8", "path": "text.txt", "checksum": "any", **UNSAID}
HELD_OUT = {"validation": 300, "test": 300}


def test_a_file_of_ones_own_becomes_a_named_corpus(fresh):
    fresh.configure(language_models={"tiny": {"corpus": OWN}}, activations={"tokens": HELD_OUT})
    plan = fresh.plan()
    assert plan.items() >= {"build_corpus": 1, "train_model": 1, "cluster_layers": 1}.items()
    assert fresh.plan(SUMMARY) == {"build_corpus": 1}
    fresh.run(SUMMARY)
    summary = json.loads((fresh.folder / SUMMARY).read_text())
    assert (summary["name"], summary["source"]) == ("text8", "text8, text.txt")
    assert summary["splits"] == {
        "train": [0, 7200],
        "validation": [7200, 7600],
        "test": [7600, 8000],
    }
    tokens = read_tokens(fresh.folder / "results/language_models/tiny/corpus/train.safetensors")
    text = (fresh.folder / "text.txt").read_text()
    letters = sorted(set(text))
    assert "".join(letters[i] for i in tokens.tokens.flatten()) == text[:7200]
    assert tokens.vocabulary.bos_id is None

    # Where downloads would lie says nothing about the text; the text does.
    fresh.configure(language_models={"tiny": {"corpus": {"cache": "elsewhere"}}})
    assert fresh.plan(SUMMARY) == {}
    fresh.edit("text.txt", "dog", "cow")
    assert fresh.plan(SUMMARY) == {"build_corpus": 1}


def test_a_published_corpus_needs_no_file_before_its_job(fresh):
    fresh.configure(
        language_models={"tiny": {"corpus": {"source": "named", "name": "enwik8", **UNSAID}}}
    )
    assert fresh.plan(SUMMARY) == {"build_corpus": 1}
