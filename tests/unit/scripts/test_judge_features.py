"""The script as a job runs it: an expert on the loopback, who also fails, is killed and resumes."""

import threading

import numpy as np
import pandas as pd
import pytest
from judge_features import main
from judge_server import context_rows, expert, fails, says, write_contexts
from loopback import serving

from clustersae.features.judge import asking
from clustersae.features.judge.scoring import COLUMNS
from clustersae.runtime.errors import InputError

N_LATENTS = 5
#: Per latent: its explanation, and on each of two layers detection and two sets of marks.
QUESTIONS = 1 + 2 * 3


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TEST_JUDGE_KEY", raising=False)


@pytest.fixture
def job(tmp_path):
    """Runs the script; latent 3 means another word on layer 1 than on layer 0."""
    rows = []
    for latent in range(N_LATENTS):
        first = 100 * latent
        rows += context_rows(latent, 0, f"word{latent}", range(first, first + 8))
        meant = "else" if latent == 3 else f"word{latent}"
        rows += context_rows(latent, 1, meant, range(first + 4, first + 12))
    contexts = write_contexts(tmp_path / "contexts.parquet", rows)

    def run(server, name="scores.csv", **more):
        settings = {"base_url": f"{server.address}/v1", "model": "wise"}
        settings |= {"key_variable": "TEST_JUDGE_KEY"}
        settings |= {"latents": 50, "examples": 10, "timeout": 5, "retries": 2, "concurrency": 3}
        scores = tmp_path / "out" / name
        main(contexts, scores, tmp_path / "out/answers.jsonl", settings | more, seed=0)
        return pd.read_csv(scores)

    return run


def test_an_expert_finds_what_keeps_its_meaning(job, monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "sk-test\n")
    with serving(expert) as server:
        scores = job(server)
    assert list(scores) == list(COLUMNS)
    assert len(scores) == N_LATENTS * 2 * 2
    assert set(scores["kind"]) == {"detection", "fuzzing"}
    lost = (scores["latent"] == 3) & (scores["layer"] == 1)
    assert (scores.loc[~lost, "balanced_accuracy"] == 1).all()
    assert (scores.loc[lost, "balanced_accuracy"] == 0.5).all()
    assert (scores["explanation"] == [f"the word word{n}" for n in scores["latent"]]).all()
    assert (scores["explained_on"] == 0).all()
    assert (scores["n_unanswered"] == 0).all()
    on_first = scores[scores["layer"] == 0]
    # Four contexts are left to score: against four others, or marked in two ways.
    assert (on_first["n_examples"] == 8).all()
    assert len(server.requests) == N_LATENTS * QUESTIONS
    assert {each.headers["Authorization"] for each in server.requests} == {"Bearer sk-test"}


@pytest.mark.parametrize(("verdict", "accuracy"), [(1, 0.5), (0, 0.5)])
def test_a_judge_without_an_opinion_is_at_chance(job, verdict, accuracy):
    def respond(request, _):
        n = request.text.count("\n1. ") and len(
            [line for line in request.text.splitlines() if line[:1].isdigit()]
        )
        return says(f"{[verdict] * n}") if "so:" in request.text else expert(request)

    with serving(respond) as server:
        scores = job(server)
    assert np.allclose(scores["balanced_accuracy"], accuracy)


def test_a_run_among_failures_scores_as_one_without(job):
    failures = [fails(429), says("What?"), fails(500)]
    seen, lock = {}, threading.Lock()

    def troubled(request, _):
        with lock:
            number = seen[request.text] = seen.get(request.text, -1) + 1
        # Each question fails in up to two ways before it is answered.
        return failures[(len(request.text) + number) % 3] if number < 2 else expert(request)

    with serving(troubled) as server:
        scores = job(server)
        assert len(server.requests) == 3 * N_LATENTS * QUESTIONS
    assert (scores["n_unanswered"] == 0).all()
    assert scores.loc[scores["latent"] != 3, "balanced_accuracy"].eq(1).all()


def test_no_latent_is_lost_to_the_bad_answers_of_another(job):
    def respond(request, _):
        if "<<word1>>" in request.text and "so:" not in request.text:
            return says("It is about something.")
        if "so:\nthe word word2" in request.text and "marked by" in request.text:
            return says("All of them.")
        return expert(request)

    with serving(respond) as server:
        scores = job(server)
    first, second = (scores[scores["latent"] == latent] for latent in (1, 2))
    assert first["balanced_accuracy"].isna().all()
    assert first["explanation"].isna().all()
    assert (first["n_unanswered"] == first["n_examples"]).all()
    by_kind = second.set_index("kind")
    assert by_kind.loc["fuzzing", "balanced_accuracy"].isna().all()
    assert (by_kind.loc["detection", "balanced_accuracy"] == 1).all()
    assert scores.loc[scores["latent"].isin([0, 4]), "balanced_accuracy"].eq(1).all()


def test_a_run_that_was_given_up_resumes_where_it_was(job, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 2)
    dead = threading.Event()

    def dying(request, number):
        if number >= 12:
            dead.set()
        return fails(503) if dead.is_set() else expert(request)

    with serving(lambda *args: dying(*args) if not revived.is_set() else expert(*args)) as server:
        revived = threading.Event()
        with pytest.raises(InputError, match="does not reply"):
            job(server)
        assert not (tmp_path / "out/scores.csv").exists()
        revived.set()
        n_before = len(server.requests)
        scores = job(server)
        assert len(server.requests) - n_before == N_LATENTS * QUESTIONS - 12
        again = job(server, "again.csv")
        assert len(server.requests) - n_before == N_LATENTS * QUESTIONS - 12
    pd.testing.assert_frame_equal(scores, again)


def test_as_many_questions_at_once_as_allowed(job):
    state, lock = {"now": 0, "most": 0}, threading.Lock()
    together = threading.Barrier(3)

    def counting(request, number):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        if number < 3:
            together.wait(5)
        with lock:
            state["now"] -= 1
        return expert(request)

    with serving(counting) as server:
        side_by_side = job(server)
        assert state["most"] == 3
    with serving(expert) as server:
        pd.testing.assert_frame_equal(side_by_side, job(server, "alone.csv", concurrency=1))


def test_without_a_judge_or_latents(job, tmp_path):
    with serving(expert) as server:
        with pytest.raises(InputError, match=r"set evaluation\.judge\.base_url"):
            job(server, base_url=None)
        few = write_contexts(tmp_path / "few.parquet", context_rows(0, 0, "word", range(3)))
        settings = {"base_url": server.address, "model": "wise", "key_variable": "NO_SUCH"}
        settings |= {"latents": 5, "examples": 4, "timeout": 5, "retries": 0, "concurrency": 1}
        main(few, tmp_path / "few.csv", tmp_path / "few.jsonl", settings, seed=0)
        assert list(pd.read_csv(tmp_path / "few.csv")) == list(COLUMNS)
        assert not server.requests
