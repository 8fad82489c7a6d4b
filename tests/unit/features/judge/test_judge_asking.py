"""Failures of an endpoint, one by one: what is asked again, what is kept, what ends a run."""

import json
import logging
import sys
import threading

import pytest
from judge_server import JSON, fails, says
from loopback import Reply, serving

from clustersae.features.judge import asking
from clustersae.features.judge.asking import Judge, Stopped
from clustersae.features.judge.questions import detect
from clustersae.features.judge.store import Store
from clustersae.runtime.errors import InputError

QUESTION = detect("dogs", ["a dog", "a cat"])
GOOD = says("[1, 0]")
KEY = "sk-secret-0123"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-something-else")


@pytest.fixture
def judging(tmp_path):
    """A judge of the server at an address, with the store of this test."""

    def judge(server, model="wise", retries=3, timeout=5.0, key=None):
        store = Store(tmp_path / "answers.jsonl")
        return Judge(f"{server.address}/v1/", model, key, store, timeout, retries)

    return judge


def in_turn(*answers):
    """The answers one after another, the last again and again."""
    return lambda _, number: answers[min(number, len(answers) - 1)]


@pytest.mark.parametrize("key", [KEY, None])
def test_a_question_as_the_endpoint_gets_it(judging, key):
    with serving(in_turn(GOOD)) as server:
        assert judging(server, key=key).ask(QUESTION) == [True, False]
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers.get("Authorization") == (key and f"Bearer {key}")
    assert request.body == {"model": "wise", "messages": QUESTION.messages, "temperature": 0.0}


def test_nothing_is_asked_twice_and_another_model_or_question_is(judging):
    with serving(in_turn(GOOD)) as server:
        for _ in range(2):
            assert judging(server).ask(QUESTION) == [True, False]
        assert len(server.requests) == 1
        judging(server).ask(detect("cats", ["a dog", "a cat"]))
        judging(server, model="wiser").ask(QUESTION)
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_failures_are_asked_again(judging, status, caplog):
    caplog.set_level(logging.INFO)
    with serving(in_turn(fails(status), fails(status), GOOD)) as server:
        judge = judging(server)
        assert judge.ask(QUESTION) == [True, False]
    assert len(server.requests) == 3
    assert (judge.n_replies, judge.n_lost) == (1, 0)
    judge.conclude()
    assert "HTTP Request" not in caplog.text  # no line in the log for every one


def test_a_reply_in_parts_is_its_text(judging):
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "[0, 0]"}]},
        {"type": "text", "text": "So: [1,"},
        {"type": "text", "text": " 0]"},
    ]
    with serving(in_turn(says(parts))) as server:
        for _ in range(2):  # the second time from the store
            assert judging(server).ask(QUESTION) == [True, False]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "bad",
    [
        Reply(body=b"<html>a page</html>"),
        Reply(body=b"<html>a page</html>", headers=JSON),
        Reply(body=b'{"error": {"message": "upstream"}}', headers=JSON),
        Reply(body=b'{"choices": []}', headers=JSON),
        says(5),
        says({"text": "[1, 0]"}),
        says(["[1, 0]"]),
        says([{"type": "text", "text": 5}]),
    ],
)
def test_an_answer_that_is_no_completion_is_lost(judging, bad):
    with serving(in_turn(bad, GOOD)) as server:
        judge = judging(server)
        assert judge.ask(QUESTION) is None
        assert judge.n_lost == 1
        with pytest.raises(InputError, match="no chat completion; is base_url right"):
            judge.conclude()
        assert judging(server).ask(QUESTION) == [True, False]


@pytest.mark.parametrize("bad", [says("I would rather not."), says(None), says("[1, 0, 1]")])
def test_malformed_replies_are_asked_again_at_another_temperature(judging, bad):
    with serving(in_turn(bad, GOOD)) as server:
        assert judging(server).ask(QUESTION) == [True, False]
        assert judging(server).ask(QUESTION) == [True, False]
    assert ["temperature" in request.body for request in server.requests] == [True, False]


def test_a_judge_that_never_keeps_to_the_format_is_not_asked_for_ever(judging):
    with serving(in_turn(says("Hm."))) as server:
        judge = judging(server, retries=2)
        assert judge.ask(QUESTION) is None
        assert len(server.requests) == 3
        judge.conclude()
        # Not in the next run either, unless it allows more.
        assert judging(server, retries=2).ask(QUESTION) is None
        assert len(server.requests) == 3
        assert judging(server, retries=3).ask(QUESTION) is None
        assert len(server.requests) == 4


def test_time_outs(judging):
    with serving(in_turn(Reply(late=True), GOOD)) as server:
        assert judging(server, timeout=0.2).ask(QUESTION) == [True, False]
    assert len(server.requests) == 2


def test_a_model_with_a_temperature_of_its_own(judging):
    def respond(request, _):
        return fails(400, "no temperature") if "temperature" in request.body else GOOD

    with serving(respond) as server:
        assert judging(server).ask(QUESTION) == [True, False]


def test_a_refused_question_is_lost_and_others_are_not(judging):
    def respond(request, _):
        return fails(400, "improper") if "bad" in request.text else GOOD

    with serving(respond) as server:
        judge = judging(server)
        assert judge.ask(detect("bad", ["a dog", "a cat"])) is None
        assert judge.ask(QUESTION) == [True, False]
    assert (judge.n_lost, len(server.requests)) == (1, 3)
    judge.conclude()


@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_every_question_would_meet_ends_the_run_without_a_word_of_the_key(
    judging, status, caplog
):
    caplog.set_level(logging.DEBUG)
    with serving(in_turn(fails(status, f"wrong key {KEY}"))) as server:
        with pytest.raises(InputError, match=rf"answers: .*{status}.*key_variable") as caught:
            judging(server, key=KEY).ask(QUESTION)
        assert len(server.requests) == 1
    assert KEY not in str(caught.value) + caplog.text


def test_the_key_is_not_told_when_the_endpoint_repeats_it(judging, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(in_turn(fails(500, f"bad {KEY}"))) as server:
        judge = judging(server, retries=1, key=KEY)
        assert judge.ask(QUESTION) is None
        judge.store.add("other", "reply")
        with pytest.raises(InputError, match=r"does not reply .*\[key\]") as caught:
            judge.conclude()
    assert KEY not in str(caught.value) + caplog.text + judge.store.path.read_text()


def test_a_dead_endpoint_is_given_up(judging, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 3)
    with serving(in_turn(GOOD)) as server:
        pass
    judge = judging(server, retries=1)
    questions = [detect(f"{number}", ["a", "b"]) for number in range(4)]
    assert [judge.ask(question) for question in questions[:2]] == [None, None]
    with pytest.raises(InputError, match=r"does not reply .*answers so far are kept"):
        judge.ask(questions[2])


def test_a_judge_that_is_stopped_asks_nothing_more(judging):
    with serving(in_turn(GOOD)) as server:
        judge = judging(server)
        judge.stop()
        with pytest.raises(Stopped):
            judge.ask(QUESTION)
        assert not server.requests


def test_a_judge_that_is_stopped_ends_what_it_asks_again_and_again(judging):
    with serving(in_turn(fails(429, **{"Retry-After": "0.2"}))) as server:
        judge = judging(server, retries=1000)
        threading.Timer(0.3, judge.stop).start()
        with pytest.raises(Stopped):
            judge.ask(QUESTION)
        assert len(server.requests) < 10


def test_without_the_client_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"pip install 'clustered-sparse-autoencoders\[judge\]'"):
        Judge("http://127.0.0.1:1", "wise", None, Store(tmp_path / "answers.jsonl"), 1, 1)


@pytest.mark.parametrize("address", ["localhost:8000", "file:///etc", "http://", "http://a:b/v1"])
def test_addresses_that_are_none(address, tmp_path):
    with pytest.raises(InputError, match=r"base_url is .* no address"):
        Judge(address, "wise", None, Store(tmp_path / "answers.jsonl"), 1, 1)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_keys_that_are_none(key, tmp_path):
    with pytest.raises(InputError, match="key has spaces") as caught:
        Judge("http://127.0.0.1:1", "wise", key, Store(tmp_path / "answers.jsonl"), 1, 1)
    assert key not in str(caught.value)


def test_a_store_drops_the_line_that_a_killed_job_was_writing(tmp_path):
    path = tmp_path / "deep" / "answers.jsonl"
    Store(path).add("a", "one \ud800")
    Store(path).add("a", "two\nlines")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"digest": "b", "rep')
    store = Store(path)
    assert path.read_bytes() == whole
    assert store.replies("a") == ["one \ud800", "two\nlines"]
    assert store.replies("b") == []
    assert [json.loads(line)["digest"] for line in path.read_text().splitlines()] == ["a", "a"]


def test_a_store_of_something_else_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    for line in ("nonsense", "[1]", '{"digest": "a"}', '{"digest": "a", "reply": null}'):
        path.write_text('{"digest": "a", "reply": "b"}\n' + line + "\n")
        with pytest.raises(InputError, match=r"Line 2 of .*answers\.jsonl"):
            Store(path)


def test_many_threads_may_add(tmp_path):
    store = Store(tmp_path / "answers.jsonl")

    def add(name):
        for number in range(50):
            store.add(name, str(number))

    threads = [threading.Thread(target=add, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    again = Store(store.path)
    assert all(again.replies(name) == [str(n) for n in range(50)] for name in "abcd")
