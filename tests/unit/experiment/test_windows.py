"""Windows: where each step lies in the stream of tokens, from the configuration alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersae.experiment.windows import Course, Windows, first_step, parts_of, reached, windows_of

#: Ten shards of 100 tokens, three at most in a window: groups of 2, 3, 2 and 3.
TEN = Windows(n_tokens=1000, n_shards=10, size=3)
SAE = {"training_tokens": 1280, "batch_size": 128, "min_steps": 0}


def test_windows_by_hand():
    assert TEN.count == 4
    assert [list(TEN.shards(window)) for window in range(5)] == [
        *([0, 1], [2, 3, 4], [5, 6], [7, 8, 9]),
        [0, 1],  # the stream begins again
    ]
    assert [TEN.start(window) for window in range(6)] == [0, 200, 500, 700, 1000, 1200]
    assert [TEN.window_at(token) for token in (0, 199, 200, 699, 999, 1000, 2600)] == [
        *(0, 0, 1, 2, 3, 4, 10)
    ]


@given(
    n_shards=st.integers(2, 40),
    size=st.integers(1, 39),
    n_tokens=st.integers(40, 5000),
    batch_size=st.integers(1, 700),
    times=st.integers(1, 7),
    first=st.integers(0, 50),
    n_steps=st.integers(1, 200),
)
@settings(deadline=None)
def test_every_step_lies_in_one_window(n_shards, size, n_tokens, batch_size, times, first, n_steps):
    windows = Windows(n_tokens, n_shards, min(size, n_shards - 1))
    groups = [windows.shards(window) for window in range(windows.count)]
    assert [shard for group in groups for shard in group] == list(range(n_shards))
    assert max(map(len, groups)) <= windows.size
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert sum(map(windows.tokens, range(windows.count))) == n_tokens

    course, steps = Course(windows, batch_size, times), range(first, first + n_steps)
    parts = list(course.parts(steps))
    assert [step for _, part in parts for step in part] == list(steps)
    assert [window for window, _ in parts] == sorted({window for window, _ in parts})
    for window, part in parts:
        for step in (part[0], part[-1]):
            # The first token of the batch, of a stream in which each is read so many times.
            assert windows.start(window) * times <= step * batch_size
            assert step * batch_size < windows.start(window + 1) * times
        assert part[0] == max(first, course.first_step(window))


def test_without_a_window_or_with_one_of_all_shards_all_are_mixed():
    cached = {"tokens": {"train": 1000}, "shard_tokens": 100}
    assert windows_of({**cached, "window": None}) is None
    assert windows_of({**cached, "window": 10}) is None
    assert windows_of({**cached, "window": 3}) == TEN


@pytest.mark.parametrize(
    ("variant", "name", "expected"),
    [
        # Ten batches of 128 reach token 1,280: the last begins at 1,152.
        (
            "base",
            "0",
            {0: range(2), 1: range(2, 4), 2: range(4, 6), 3: range(6, 8), 4: range(8, 10)},
        ),
        # At one layer each: a shared SAE reads as many tokens as one of a single layer.
        ("tokens-1of2", "0-2", {0: range(2), 1: range(2, 4), 2: range(4, 5)}),
        # Three times as many activations, every token three times: as many tokens again.
        (
            *("equal-exposure", "0-2"),
            {
                **{0: range(5), 1: range(5, 12), 2: range(12, 17), 3: range(17, 24)},
                **{4: range(24, 29), 5: range(29, 30)},
            },
        ),
        ("mlsae-1of4", "0-2", {0: range(5), 1: range(5, 8)}),
        # It reads on where its start has stopped, and a transferred one begins with the stream.
        ("tokens-1of4@tokens-1of2", "1@0-2", {2: range(5, 6), 3: range(6, 7)}),
        ("tokens-1of4@equal-exposure-1of2", "1@0-2", {2: range(5, 6), 3: range(6, 7)}),
        ("tokens-1of4~base", "1~0", {0: range(2)}),
    ],
)
def test_what_an_sae_reads_in_which_window(variant, name, expected):
    assert parts_of(TEN, SAE, variant, name) == expected


@pytest.mark.parametrize(
    ("variant", "name", "n_tokens"),
    [
        ("base", "0", 1280),
        ("tokens-1of2", "0-2", 640),
        ("equal-exposure", "0-2", 1280),  # 30 batches, every token three times
        ("mlsae-1of4", "0-2", 341),  # 8 batches; two tokens are not read at all layers
        ("tokens-1of4@tokens-1of2", "1@0-2", 640 + 256),
        ("tokens-1of4~base", "1~0", 256),
    ],
)
def test_how_far_an_sae_reads_with_what_it_starts_from(variant, name, n_tokens):
    assert reached(SAE, variant, name) == n_tokens


def test_an_sae_goes_on_at_the_next_whole_batch_of_its_own_size():
    """Its start has read 896 tokens: three batches and a half of 256."""
    sae = SAE | {"batch_size": 256, "min_steps": 4}
    variant, name = "base@tokens-7of10", "1@0-2"
    assert reached(sae, "tokens-7of10", "0-2") == 896
    assert first_step(sae, variant, name) == 4
    assert reached(sae, variant, name) == (4 + 5) * 256
