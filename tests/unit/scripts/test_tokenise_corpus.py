"""The script on a tiny model."""

import pytest
import tokenise_corpus
from language_models import N_CTX, save_tiny_model, write_description

from clustersae.corpora.build import CorpusFiles
from clustersae.runtime.errors import InputError


def test_rows_longer_than_the_model_reads_are_refused_before_the_text_is_read(tmp_path):
    model = save_tiny_model("gpt2", tmp_path / "model")
    write_description(model, model / "description.json", "here")
    files = CorpusFiles(*(tmp_path / name for name in CorpusFiles._fields))
    corpus = {"source": "text", "files": ["no-such-file.txt"], "n_ctx": N_CTX + 1}
    with pytest.raises(InputError, match=f"n_ctx is {N_CTX + 1}, but the model reads at most"):
        tokenise_corpus.main(files, corpus, model, asked={})
