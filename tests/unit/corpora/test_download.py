"""Downloads from a server on the loopback that fails in every way: continued, or given up."""

import socket
from itertools import islice

import pytest
from file_server import Asked, Reply, part_of, sending

from clustersae.corpora import download as module
from clustersae.corpora.download import DownloadError, Patience, download

CONTENT = bytes(range(256)) * 40
LARGEST = len(CONTENT)
HASTY = Patience(attempts=4, first_pause=0.01, longest_pause=0.05, timeout=5.0)
PAGE = b"\n<!DOCTYPE html><title>Please log in</title>"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def part(tmp_path):
    return tmp_path / "cache" / "part"


@pytest.fixture
def fetch(part):
    part.parent.mkdir()

    def fetch(respond, patience=HASTY):
        """What the server was asked for."""
        with sending(respond) as server:
            download(f"{server.address}/dc/file.zip", part, LARGEST, patience)
        return server.asked

    return fetch


def in_turn(*replies):
    """Each reply once, then the file as a good server sends it."""

    def respond(asked, number):
        return replies[number] if number < len(replies) else part_of(CONTENT, asked)

    return respond


def test_a_file_arrives_whole_and_is_asked_for_once(fetch, part):
    assert fetch(part_of_content) == [Asked("/dc/file.zip")]
    assert part.read_bytes() == CONTENT


def part_of_content(asked, _):
    return part_of(CONTENT, asked)


@pytest.mark.parametrize("sized", [True, False])
def test_a_length_need_not_be_said(fetch, part, sized):
    fetch(lambda asked, _: part_of(CONTENT, asked, sized=sized))
    assert part.read_bytes() == CONTENT


def test_a_broken_connection_is_continued_where_it_broke_off(fetch, part):
    def respond(asked, number):
        return part_of(CONTENT, asked, only=(1000, 2000, None)[number])

    starts = [asked.start for asked in fetch(respond)]
    assert starts == [None, 1000, 3000]
    assert part.read_bytes() == CONTENT


def test_what_a_killed_job_has_left_is_not_asked_for_again(fetch, part):
    part.write_bytes(CONTENT[:777])
    assert [asked.start for asked in fetch(part_of_content)] == [777]
    assert part.read_bytes() == CONTENT


def test_a_file_that_had_arrived_whole_is_left_as_it_is(fetch, part):
    part.write_bytes(CONTENT)
    assert len(fetch(part_of_content)) == 1
    assert part.read_bytes() == CONTENT


def test_a_server_that_cannot_continue_sends_everything_again(fetch, part):
    part.write_bytes(b"x" * 500)
    fetch(lambda *_: Reply(CONTENT))
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=416, headers={"Content-Range": "bytes */12"}),
        Reply(status=416),
        Reply(CONTENT[3:], 206, {"Content-Range": f"bytes 3-{LARGEST - 1}/{LARGEST}"}),
        Reply(CONTENT[3:], 206),
    ],
)
def test_a_beginning_that_cannot_be_continued_is_dropped(fetch, part, reply):
    part.write_bytes(b"x" * 500)
    assert [asked.start for asked in fetch(in_turn(reply))] == [500, None]
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(fetch, part, status):
    assert len(fetch(in_turn(Reply(status=status), Reply(status=status)))) == 3
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize(("asked", "pause"), [("3", 3), ("0", 1), ("600", 5), ("soon", 1)])
def test_a_server_may_ask_for_patience_within_bounds(fetch, monkeypatch, asked, pause):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    patience = Patience(attempts=2, first_pause=1.0, longest_pause=5.0)
    fetch(in_turn(Reply(status=429, headers={"Retry-After": asked})), patience)
    assert pauses == [pause]


def test_pauses_double_up_to_the_longest(fetch, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    patience = Patience(attempts=6, first_pause=1.0, longest_pause=5.0)
    fetch(in_turn(*[Reply(status=503)] * 5), patience)
    assert pauses == [1, 2, 4, 5, 5]


def test_the_attempts_are_bounded(part):
    part.parent.mkdir()
    with sending(lambda *_: Reply(status=503)) as server:
        with pytest.raises(DownloadError, match=r"answers 503 .*, at the last of 4 attempts"):
            download(f"{server.address}/f", part, LARGEST, HASTY)
        assert len(server.asked) == HASTY.attempts
    assert not part.exists()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(fetch, part, status):
    with pytest.raises(DownloadError, match=rf"/dc/file\.zip: the server answers {status} ") as at:
        fetch(lambda *_: Reply(b"gone", status))
    assert "in a browser" in at.value.advice
    assert not part.exists()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<p>Not here", headers={"Content-Type": "text/html; charset=utf-8"}),
        Reply(PAGE, headers={"Content-Type": "application/zip"}),
        Reply(PAGE),
        Reply(b"<HTML><body>"),
    ],
)
def test_a_web_page_is_not_taken_for_the_file(fetch, part, reply):
    with pytest.raises(DownloadError, match="a web page has come instead of the file"):
        fetch(lambda *_: reply)
    assert not part.exists()


def test_a_web_page_leaves_what_had_arrived_alone(fetch, part):
    part.write_bytes(CONTENT[:500])
    with pytest.raises(DownloadError, match="a web page has come"):
        fetch(lambda *_: Reply(PAGE, headers={"Content-Type": "text/html"}))
    assert part.read_bytes() == CONTENT[:500]


def test_a_redirect_to_another_server_is_named_and_not_followed(fetch, part):
    to = "http://login.example.org/portal"
    with pytest.raises(DownloadError, match=rf"redirects to {to}"):
        fetch(lambda *_: Reply(status=302, headers={"Location": to}))
    assert not part.exists()


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/file"])
def test_a_redirect_out_of_the_web_is_not_followed(fetch, location):
    with pytest.raises(DownloadError, match=r"redirects to|answers 302"):
        fetch(lambda *_: Reply(status=302, headers={"Location": location}))


def test_a_redirect_within_the_server_is_followed(fetch, part):
    def respond(asked, _):
        if asked.path != "/new/place":
            return Reply(status=301, headers={"Location": "/new/place"})
        return part_of(CONTENT, asked)

    fetch(respond)
    assert part.read_bytes() == CONTENT


def test_redirects_in_a_circle_end(fetch):
    with pytest.raises(DownloadError, match="the server answers 302 "):
        fetch(lambda asked, _: Reply(status=302, headers={"Location": asked.path}))


def test_a_stalled_connection_is_given_up_and_continued(fetch, part):
    def respond(asked, number):
        only = (1000, None)[number]
        return part_of(CONTENT, asked, only=only, stalls=only is not None)

    patience = Patience(attempts=2, first_pause=0.01, timeout=0.2)
    assert [asked.start for asked in fetch(respond, patience)] == [None, 1000]
    assert part.read_bytes() == CONTENT


def test_a_connection_that_stays_stalled_is_named(fetch, part):
    patience = Patience(attempts=2, first_pause=0.01, timeout=0.2)
    with pytest.raises(DownloadError, match=r"hardly a byte has come for 0\.2 s, at the last of 2"):
        fetch(lambda asked, _: part_of(CONTENT, asked, only=100, stalls=True), patience)
    assert part.read_bytes() == CONTENT[:100] + CONTENT[100:200]


def test_a_dripping_connection_counts_as_stalled(monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))

    class Dripping:
        def read1(self, _):
            return b"."

    pieces = module._pieces(Dripping(), timeout=10.0)
    with pytest.raises(module._Passing, match="hardly a byte has come for 10 s"):
        list(islice(pieces, 100))


def test_an_answer_that_never_comes_is_named(part):
    part.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:  # accepts and says nothing
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/file"
        patience = Patience(attempts=2, first_pause=0.01, timeout=0.1)
        with pytest.raises(DownloadError, match="no answer in time, at the last of 2 attempts"):
            download(url, part, LARGEST, patience)


def test_nobody_at_the_other_end_is_named(part):
    part.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/file"
    with pytest.raises(DownloadError, match=r"the connection failed .*refused") as caught:
        download(url, part, LARGEST, HASTY)
    assert "get online and run again" in caught.value.advice


@pytest.mark.parametrize("sized", [True, False])
def test_a_file_that_is_too_large_is_given_up(fetch, part, sized):
    with pytest.raises(DownloadError, match=f"more has come than the {LARGEST} bytes"):
        fetch(lambda *_: Reply(CONTENT + b"more", sized=sized))
    assert not part.exists()


def test_an_empty_file_is_no_file(fetch, part):
    with pytest.raises(DownloadError, match="the server sends an empty file"):
        fetch(lambda *_: Reply(b""))
    assert not part.exists()
