"""Which latents are judged, by what: nothing that explains a latent scores it."""

import pandas as pd
import pytest
from judge_server import context_rows, write_contexts

from clustersae.features.judge.contexts import family, read_latents
from clustersae.runtime.errors import InputError


@pytest.fixture
def path(tmp_path):
    rows = []
    for latent in range(6):
        first = 100 * latent
        rows += context_rows(latent, 0, f"word{latent}", range(first, first + 8))
        rows += context_rows(latent, 1, f"word{latent}", range(first + 4, first + 12))
    rows += context_rows(6, 0, "rare", range(600, 603))
    rows += context_rows(6, 1, "rare", range(600, 604))
    rows += context_rows(7, 0, "rarer", range(700, 703))
    return write_contexts(tmp_path / "contexts.parquet", rows)


def sequences(contexts):
    return {context.sequence for context in contexts}


def test_what_explains_a_latent_does_not_score_it_on_any_layer(path):
    (latents,) = read_latents(path, 50, 10, seed=0)
    found = {latent.label["latent"]: latent for latent in latents}
    assert set(found) == {0, 1, 2, 3, 4, 5, 6}
    assert found[1].layer == 0
    assert sequences(found[1].shown) == {100, 102, 104, 106}
    assert sequences(found[1].held_out[0]) == {101, 103, 105, 107}
    assert [context.sequence for context in found[1].held_out[1]] == [105, 107, 108, 109, 110, 111]
    # Too few contexts on layer 0 to explain it there.
    assert found[6].layer == 1
    assert set(found[6].held_out) == {0, 1} or set(found[6].held_out) == {1}


def test_counterexamples_are_of_other_latents_where_this_one_is_not_known_to_fire(path, tmp_path):
    (latents,) = read_latents(path, 50, 10, seed=0)
    for latent in latents:
        own = latent.label["latent"]
        for contexts in latent.counterexamples.values():
            assert contexts
            assert own not in {sequence // 100 for sequence in sequences(contexts)}
            assert len(sequences(contexts)) == len(contexts)
    # Two latents that fire in the same sequences have no counterexample in one another.
    rows = context_rows(0, 0, "one", range(8)) + context_rows(1, 0, "other", range(8))
    (latents,) = read_latents(write_contexts(tmp_path / "same.parquet", rows), 50, 10, seed=0)
    assert [latent.counterexamples for latent in latents] == [{0: []}, {0: []}]


def test_contexts_of_silence_come_before_those_of_other_latents(path, tmp_path):
    silent = context_rows(2, 0, "none", range(900, 905))
    for row in silent:
        row |= {"activation": 0.0, "activations": [0.0] * 6, "rank": -1}
    rows = pd.concat([pd.read_parquet(path), pd.DataFrame(silent)])
    (latents,) = read_latents(
        write_contexts(tmp_path / "c.parquet", rows.to_dict("records")), 50, 10, seed=0
    )
    (second,) = (latent for latent in latents if latent.label["latent"] == 2)
    assert sequences(second.counterexamples[0]) == set(range(900, 905))
    assert sequences(second.shown) == {200, 202, 204, 206}


def test_latents_are_drawn_by_seed_and_more_of_them_keep_the_first(path):
    def drawn(n_latents, seed):
        (latents,) = read_latents(path, n_latents, 10, seed)
        return [latent.label["latent"] for latent in latents]

    assert drawn(3, 0) == drawn(6, 0)[:3]
    assert len({tuple(drawn(3, seed)) for seed in range(10)}) > 1


def test_every_sae_and_seed_apart_and_specialised_siblings_together(tmp_path):
    rows = []
    for seed in (0, 1):
        for layer, cluster in ((0, "0@0-1"), (1, "1@0-1"), (2, "2")):
            first = 20 * layer
            rows += context_rows(5, layer, "word", range(first, first + 8), cluster, seed)
    found = list(read_latents(write_contexts(tmp_path / "c.parquet", rows), 50, 10, seed=0))
    labels = [(latent.label["seed"], latent.label["cluster"]) for (latent,) in found]
    assert sorted(labels) == [(0, "2"), (0, "@0-1"), (1, "2"), (1, "@0-1")]
    layers = {latent.label["cluster"]: set(latent.held_out) for (latent,) in found}
    assert layers == {"@0-1": {0, 1}, "2": {2}}
    assert [family(name) for name in ("3", "3@0-4", "@0-4")] == ["3", "@0-4", "@0-4"]


def test_a_file_of_something_else_is_named(tmp_path):
    path = write_contexts(tmp_path / "c.parquet", [{"latent": 1}])
    with pytest.raises(InputError, match=r"c\.parquet lacks the columns activation, "):
        next(read_latents(path, 50, 10, seed=0))
