"""A named corpus comes into the cache whole and right, or not at all."""

import dataclasses
import hashlib
import io
import socket
import threading
import zipfile

import pytest
from loopback import Reply, serving

from clustersae.corpora import obtain as module
from clustersae.corpora.named import NAMED
from clustersae.corpora.obtain import obtain
from clustersae.runtime.errors import InputError

TEXT = b"anarchism originated as a term of abuse " * 300


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """One retry, without a pause."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(module, "RETRIES", 1)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "some" / "cache"


def zipped(text=TEXT, member="text8", how=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr(member, text)
    return buffer.getvalue()


def corpus_at(address, name="text8", text=TEXT):
    """The named corpus with a small text, at a server of the test's own."""
    corpus = NAMED[name]
    return dataclasses.replace(
        corpus,
        url=f"{address}/{corpus.url.rpartition('/')[2]}",
        checksum=hashlib.new(corpus.algorithm, text).hexdigest(),
    )


def always(content):
    return lambda *_: Reply(body=content)


def refusal(respond, cache, name="text8"):
    """What is said when the corpus cannot be had; nothing may be left behind."""
    with serving(respond) as server:
        with pytest.raises(InputError) as caught:
            obtain(corpus_at(server.address, name), cache)
        assert len(server.requests) == 2
    assert not list(cache.iterdir())
    message = str(caught.value)
    assert message.startswith(f"Corpus {name} is not in {cache} ({server.address}/")
    assert "\n" not in message
    assert all(way in message for way in ("corpus.cache", "CLUSTERSAE_DATA", "corpus.path"))
    return message


@pytest.mark.parametrize(
    ("name", "content"),
    [("text8", zipped()), ("enwik8", zipped(member="enwik8")), ("shakespeare_char", TEXT)],
)
def test_a_corpus_is_downloaded_once(cache, name, content):
    with serving(always(content)) as server:
        corpus = corpus_at(server.address, name)
        for _ in range(2):
            path = obtain(corpus, cache)
            assert path == cache / corpus.file
            assert path.read_bytes() == TEXT
    assert [asked.path for asked in server.requests] == [f"/{corpus.url.rpartition('/')[2]}"]
    assert list(cache.iterdir()) == [path]
    (cache / "usual").touch()
    assert path.stat().st_mode == (cache / "usual").stat().st_mode


def test_a_file_in_the_cache_needs_no_network(cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cache.mkdir(parents=True)
    (cache / "enwik8").write_bytes(b"is checked where it is read")
    assert obtain(NAMED["enwik8"], cache) == cache / "enwik8"


def test_jobs_that_want_the_same_file_do_not_disturb_each_other(cache):
    together, paths = threading.Barrier(4), []

    def respond(*_):
        together.wait(5)
        return Reply(body=zipped())

    with serving(respond) as server:
        corpus = corpus_at(server.address)
        threads = [
            threading.Thread(target=lambda: paths.append(obtain(corpus, cache))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert paths == [cache / "text8"] * 4
    assert [path.name for path in cache.iterdir()] == ["text8"]
    assert paths[0].read_bytes() == TEXT


def test_without_a_network_one_error_says_where_to_put_the_file(cache):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        corpus = corpus_at(f"http://127.0.0.1:{listening.getsockname()[1]}")
    with pytest.raises(InputError, match=r"refused.*a network; put text8 there by hand") as caught:
        obtain(corpus, cache)
    assert str(caught.value).startswith(f"Corpus text8 is not in {cache} ({corpus.url}: ")


def test_nothing_is_downloaded_where_that_is_forbidden(cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        InputError, match=r"HF_HUB_OFFLINE forbids a download.*unset it.*put enwik8 there"
    ):
        obtain(NAMED["enwik8"], cache)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["text8", "shakespeare_char"])
def test_a_wrong_checksum_is_named_and_nothing_is_kept(cache, name):
    other = TEXT[:-1] + b"!"
    message = refusal(always(zipped(other) if name == "text8" else other), cache, name)
    for text in (TEXT, other):
        assert hashlib.new(NAMED[name].algorithm, text).hexdigest() in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped()[:100], "no whole zip archive"),
        (zipped(how=zipfile.ZIP_STORED).replace(b"abuse", b"amuse", 1), "Bad CRC-32"),
        (zipped(member="enwik8"), "no item named 'text8'"),
        (b"<html>Please log in</html>", "no whole zip archive"),
        (b"", "no whole zip archive"),
    ],
    # Archives hold the time: workers of pytest-xdist would find different tests.
    ids=["truncated", "wrong checksum", "no such member", "a web page", "nothing"],
)
def test_an_archive_that_is_none_of_it_is_named(cache, content, said):
    assert said in refusal(always(content), cache)


@pytest.mark.parametrize("name", ["text8", "shakespeare_char"])
def test_no_more_is_unpacked_or_downloaded_than_the_text_has(cache, monkeypatch, name):
    """Of an archive of 100 KB that unpacks to 100 MB, and of a body without an end."""
    corpus = NAMED[name]
    monkeypatch.setitem(NAMED, name, dataclasses.replace(corpus, n_bytes=len(TEXT)))
    bomb = zipped(bytes(100 << 20)) if name == "text8" else bytes(1 << 20)
    said = refusal(always(bomb), cache, name)
    assert f"more has come than the {len(TEXT)} bytes" in said


def test_a_member_with_a_path_for_a_name_is_not_unpacked(cache):
    assert "no item named 'text8'" in refusal(always(zipped(member="../text8")), cache)
    assert not (cache.parent / "text8").exists()


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_fails_is_named(cache, status):
    assert str(status) in refusal(lambda *_: Reply(status), cache)


def test_a_stalled_connection_is_given_up(cache, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    assert "timed out" in refusal(lambda *_: Reply(late=True), cache)


@pytest.mark.parametrize("broken", [Reply(503), Reply(body=zipped(), only=50)])
def test_what_fails_once_is_tried_again(cache, broken):
    with serving(lambda _, number: Reply(body=zipped()) if number else broken) as server:
        assert obtain(corpus_at(server.address), cache).read_bytes() == TEXT
        assert len(server.requests) == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"Not a directory.*this folder can be written"):
        obtain(NAMED["text8"], tmp_path / "file" / "cache")
