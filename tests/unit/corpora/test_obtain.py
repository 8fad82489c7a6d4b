"""A named corpus comes into the cache whole and right, or not at all."""

import dataclasses
import hashlib
import io
import socket
import threading
import zipfile

import pytest
from file_server import Reply, part_of, sending

from clustersae.corpora import download
from clustersae.corpora import obtain as module
from clustersae.corpora.download import Patience
from clustersae.corpora.named import NAMED
from clustersae.corpora.obtain import obtain
from clustersae.runtime.errors import InputError

TEXT = b"anarchism originated as a term of abuse " * 300
HASTY = Patience(attempts=3, first_pause=0.01, longest_pause=0.02, timeout=5.0)


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


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
        n_bytes=len(text),
        checksum=hashlib.new(corpus.algorithm, text).hexdigest(),
    )


def always(content):
    return lambda asked, _: part_of(content, asked)


def refusal(respond, cache, **changes):
    """What is said when the corpus cannot be had; nothing may be left but hidden parts."""
    with sending(respond) as server:
        corpus = dataclasses.replace(corpus_at(server.address), **changes)
        with pytest.raises(InputError) as caught:
            obtain(corpus, cache, HASTY)
    assert not (cache / corpus.file).exists()
    assert {path.name for path in cache.iterdir()} <= {".text8.lock", ".text8.part"}
    message = str(caught.value)
    assert "\n" not in message
    assert all(way in message for way in ("corpus.cache", "CLUSTERSAE_DATA", "corpus.path"))
    return message


@pytest.mark.parametrize(
    ("name", "content"),
    [("text8", zipped()), ("enwik8", zipped(member="enwik8")), ("shakespeare_char", TEXT)],
)
def test_a_corpus_is_downloaded_once(cache, name, content):
    with sending(always(content)) as server:
        corpus = corpus_at(server.address, name)
        for _ in range(2):
            path = obtain(corpus, cache, HASTY)
            assert path == cache / corpus.file
            assert path.read_bytes() == TEXT
    assert [asked.path for asked in server.asked] == [f"/{corpus.url.rpartition('/')[2]}"]
    left = {path.name for path in cache.iterdir()}
    assert left == {corpus.file, f".{corpus.file}.lock"}


def test_a_file_in_the_cache_needs_no_network(cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cache.mkdir(parents=True)
    (cache / "enwik8").write_bytes(b"is checked where it is read")
    assert obtain(NAMED["enwik8"], cache) == cache / "enwik8"


def test_jobs_that_want_the_same_file_wait_for_one_of_them(cache):
    paths = []
    with sending(always(zipped())) as server:
        corpus = corpus_at(server.address)
        threads = [
            threading.Thread(target=lambda: paths.append(obtain(corpus, cache, HASTY)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert paths == [cache / "text8"] * 4
    assert len(server.asked) == 1


def test_offline_and_absent_is_one_error_with_the_ways_out(cache):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(InputError) as caught:
        obtain(corpus_at(address), cache, HASTY)
    message = str(caught.value)
    assert message.startswith(f"Corpus text8 is not in {cache} ({address}/text8.zip: the conn")
    assert message.endswith(
        "Three ways out: get online and run again (a download goes on where it broke off); name"
        " the folder that holds text8 as corpus.cache or in CLUSTERSAE_DATA; or give a copy of"
        " text8 as corpus.path."
    )


def test_nothing_is_downloaded_where_that_is_forbidden(cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE forbids a download.*: unset it and run"):
        obtain(NAMED["enwik8"], cache)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["text8", "shakespeare_char"])
def test_a_wrong_checksum_is_named_and_nothing_is_kept(cache, name):
    other = TEXT[:-1] + b"!"
    content = zipped(other) if name == "text8" else other
    with sending(always(content)) as server:
        corpus = corpus_at(server.address, name)
        found = hashlib.new(corpus.algorithm, other).hexdigest()
        said = f"has sent has {corpus.algorithm} {found}, and {corpus.checksum} as published"
        with pytest.raises(InputError, match=said):
            obtain(corpus, cache, HASTY)
    assert [path.name for path in cache.iterdir()] == [f".{corpus.file}.lock"]
    assert len(server.asked) == 1


def test_a_beginning_of_another_version_is_thrown_away_and_all_fetched_again(cache):
    cache.mkdir(parents=True)
    (cache / ".text8.part").write_bytes(b"x" * 50)
    with sending(always(zipped())) as server:
        assert obtain(corpus_at(server.address), cache, HASTY).read_bytes() == TEXT
    assert [asked.start for asked in server.asked] == [50, None]


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_archive_is_named(cache, how, share):
    archive = zipped(how=how)[: int(len(zipped(how=how)) * share)]
    assert "is no whole zip archive of it" in refusal(always(archive), cache)
    assert not (cache / ".text8.part").exists()


def test_a_damaged_archive_is_named(cache):
    archive = bytearray(zipped(how=zipfile.ZIP_STORED))
    archive[200] ^= 1
    message = refusal(always(bytes(archive)), cache)
    assert "no whole zip archive of it: Bad CRC-32" in message


def test_an_archive_of_something_else_is_named(cache):
    message = refusal(always(zipped(member="enwik8")), cache)
    assert "no whole zip archive of it: no text8 inside" in message


def test_an_archive_that_swells_beyond_its_size_is_given_up(cache):
    bomb = zipped(b"x" * (1 << 20))
    assert f"text8 is larger than {len(TEXT)} bytes" in refusal(always(bomb), cache)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=404), "the server answers 404"),
        (Reply(b"<html>", headers={"Content-Type": "text/html"}), "a web page has come instead"),
        (Reply(status=302, headers={"Location": "http://example.org/"}), "redirects to http://ex"),
        (Reply(status=503), "answers 503"),
    ],
)
def test_other_failures_name_the_ways_out_too(cache, reply, said):
    assert said in refusal(lambda *_: reply, cache)


def test_a_download_that_keeps_breaking_off_is_continued_by_the_next_run(cache):
    content = zipped()

    def respond(asked, number):
        return part_of(content, asked, only=10 if number < HASTY.attempts else None)

    with sending(respond) as server:
        corpus = corpus_at(server.address)
        with pytest.raises(InputError, match=f"broke off after 30 of {len(content)} bytes"):
            obtain(corpus, cache, HASTY)
        assert (cache / ".text8.part").read_bytes() == content[:30]
        assert obtain(corpus, cache, HASTY).read_bytes() == TEXT
    assert [asked.start for asked in server.asked] == [None, 10, 20, 30]


def test_attempts_that_bring_enough_are_not_counted(cache, monkeypatch):
    monkeypatch.setattr(download, "PROGRESS_BYTES", 10)
    content = zipped()
    with sending(lambda asked, number: part_of(content, asked, only=10)) as server:
        assert obtain(corpus_at(server.address), cache, HASTY).read_bytes() == TEXT
    assert len(server.asked) == -(-len(content) // 10) > HASTY.attempts


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"text8 cannot be written to .*name another folder as cor"
    ):
        obtain(NAMED["text8"], tmp_path / "file" / "cache")


def test_a_full_disk_while_unpacking_keeps_the_download(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_unpack", full)
    with sending(always(zipped())) as server:
        with pytest.raises(InputError, match=r"cannot be written to .*No space left on device\)"):
            obtain(corpus_at(server.address), cache, HASTY)
        monkeypatch.undo()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert obtain(corpus_at(server.address), cache, HASTY).read_bytes() == TEXT
    assert server.asked[1].start == len(zipped())
