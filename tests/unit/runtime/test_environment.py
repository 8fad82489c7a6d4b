"""Where there is no home folder: in a container that runs under a number which is no user's."""

import pwd

import pytest

from clustersae.corpora.named import cache_folder
from clustersae.runtime.errors import InputError
from clustersae.sae import native
from clustersae.setup.facts import look_at_model
from clustersae.setup.sample import look_at_text


@pytest.fixture
def homeless(monkeypatch):
    def nobody(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_saes_are_trained_without_compiled_code(homeless, monkeypatch, caplog):
    native.library.cache_clear()
    monkeypatch.setenv("CC", "cc")
    try:
        with caplog.at_level("INFO"):
            assert native.library() is None
        assert "no home folder to keep a cache in: set XDG_CACHE_HOME" in caplog.text
    finally:
        native.library.cache_clear()


def test_what_would_lie_there_is_refused(homeless, monkeypatch):
    monkeypatch.delenv("CLUSTERSAE_DATA", raising=False)
    with pytest.raises(InputError, match="no home folder"):
        cache_folder(None)
    with pytest.raises(InputError, match="--model ~/llama: there is no such directory"):
        look_at_model("~/llama")
    with pytest.raises(InputError, match=r"--text ~/a\.txt: there is no such file"):
        look_at_text(["~/a.txt"], None)
