"""Batches: stratified over layers, each token once per pass, a pure function of (seed, step)."""

import hashlib
import tracemalloc
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended_gpu import DEVICE, PretendedGPU
from synthetic_shards import write_split

from clustersae.activations.batches import BatchPlan, normalised_batches, seed_of_window
from clustersae.activations.shards import open_shards
from clustersae.experiment.sae_settings import BLOCK_ROWS
from clustersae.runtime.errors import InputError


def rows_of(segment):
    return [(segment.shard, segment.start + i) for i in range(segment.n_rows)]


@given(
    rows=st.lists(st.integers(0, 400), min_size=1, max_size=4),
    n_layers=st.integers(1, 7),
    batch_size=st.sampled_from([8, 64, 96, 130]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_plan_properties(rows, n_layers, batch_size, seed):
    try:
        plan = BatchPlan(rows, n_layers, batch_size, seed)
    except InputError as error:
        if "has no divisor" in str(error):
            return
        block = max(i for i in range(1, min(batch_size, BLOCK_ROWS) + 1) if batch_size % i == 0)
        assert sum(n // block * block for n in rows) < batch_size
        return
    seen = Counter()
    for step in range(plan.steps_per_pass):
        segments = list(plan.segments(step))
        per_layer = Counter()
        position = 0
        for segment in segments:
            assert segment.position == position, "segments fill the batch without gaps"
            assert segment.start + segment.n_rows <= rows[segment.shard]
            position += segment.n_rows
            per_layer[segment.layer] += segment.n_rows
            seen.update(rows_of(segment))
        assert position == batch_size
        counts = [per_layer[layer] for layer in range(n_layers)]
        assert max(counts) - min(counts) <= 1
    assert set(seen.values()) == {1}, "a token appears once per pass, at one layer"
    assert len(seen) == plan.steps_per_pass * batch_size
    block = plan.block_rows
    left_out = sum(n % block for n in rows) + batch_size - block
    assert sum(rows) - len(seen) <= left_out, "what does not fill a block or a batch, at most"


def test_no_row_is_left_out_for_good():
    """Neither the last rows of a shard nor the blocks beyond the last whole batch."""
    rows = [300, 203]
    plan = BatchPlan(rows, 1, 128, 0)
    seen = set()
    for step in range(400 * plan.steps_per_pass):
        for segment in plan.segments(step):
            seen.update(rows_of(segment))
    assert len(seen) == sum(rows)


def test_a_batch_size_that_cannot_be_cut_into_blocks():
    with pytest.raises(InputError, match=r"sae\.batch_size = 2053 has no divisor.*multiple of 128"):
        BatchPlan([10_000], 1, 2053, 0)


def test_the_plan_of_a_step_does_not_depend_on_what_came_before():
    one, other = BatchPlan([1000, 700], 3, 128, 4), BatchPlan([1000, 700], 3, 128, 4)
    for step in range(40):
        list(one.segments(step))
    for step in (39, 0, 25):
        assert list(one.segments(step)) == list(other.segments(step))


def test_passes_and_seeds_differ():
    plan = BatchPlan([2000], 1, 128, 0)
    first, second = list(plan.segments(0)), list(plan.segments(plan.steps_per_pass))
    assert first != second
    assert first != list(BatchPlan([2000], 1, 128, 1).segments(0))


def starts(seed):
    return [segment.start for segment in BatchPlan([4096], 1, 4096, seed).segments(0)]


@pytest.mark.parametrize("seed", [0, 9_300_000, 18_400_000])
def test_the_order_of_a_window_follows_from_the_product(seed):
    generator = torch.Generator().manual_seed((seed * 1_000_003 + 1) * 1_000_003)
    torch.randint(1, (), generator=generator)
    expected = 128 * torch.randperm(32, generator=generator)
    assert starts(seed_of_window(seed, 0)) == expected.tolist()


def test_a_window_may_have_any_seed_that_a_generator_takes():
    seeds = 20_240_101, 2**62, 2**63 - 1
    orders = [starts(seed_of_window(seed, window)) for seed in seeds for window in (0, 1)]
    assert all(sorted(order) == list(range(0, 4096, 128)) for order in orders)
    assert len(set(map(tuple, orders))) == 6


def test_all_clusters_see_the_same_tokens_in_the_same_order():
    """So that differences between SAEs are paired."""
    tokens = [
        [row for segment in BatchPlan([5000], n, 256, 2).segments(7) for row in rows_of(segment)]
        for n in (1, 2, 5)
    ]
    assert tokens[0] == tokens[1] == tokens[2]


def test_a_plan_of_many_tokens_takes_little_memory():
    """Of a billion tokens, two numbers for each of 7.8 million blocks."""
    tracemalloc.start()
    plan = BatchPlan([100_000] * 100, 1, 2048, 0)
    next(iter(plan.segments(0)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    n_blocks = 100 * (100_000 // BLOCK_ROWS)
    assert most < n_blocks, "of Python's objects, which take a hundred bytes for each block"
    assert plan._blocks.untyped_storage().nbytes() == 16 * n_blocks


def test_too_few_tokens_for_a_batch():
    with pytest.raises(InputError, match=r"300 tokens, 256 of.*fewer than one batch of .* 384"):
        BatchPlan([150, 150], 1, 384, 0)


class FakeShard:
    """Row r of layer l holds (shard, l, r), so that a batch shows where it came from."""

    device = torch.device("cpu")

    def __init__(self, number, n_rows):
        self.number, self.n_rows = number, n_rows

    def layer(self, layer, start=0, stop=None):
        rows = torch.arange(self.n_rows, dtype=torch.float32)
        tags = torch.full_like(rows, layer), torch.full_like(rows, self.number)
        return torch.stack([tags[1], tags[0], rows], dim=1)[start:stop]


def test_batches_are_normalised_with_their_own_layers_figures():
    shards = [FakeShard(0, 300), FakeShard(1, 300)]
    layers = [2, 5]
    mean = torch.tensor([[0.0, 2.0, 0.0], [0.0, 5.0, 0.0]])
    scale = torch.tensor([1.0, 10.0])
    plan = BatchPlan([300, 300], 2, 64, 3)
    for step, batch in enumerate(normalised_batches(shards, layers, mean, scale, 64, 3, range(4))):
        assert torch.all(batch[:, 1] == 0), "each row had its own layer's mean taken off"
        for segment in plan.segments(step):
            piece = batch[segment.position : segment.position + segment.n_rows]
            rows = torch.arange(segment.start, segment.start + segment.n_rows)
            expected = rows / scale[segment.layer]
            torch.testing.assert_close(piece[:, 2], expected)


def test_resuming_gives_the_remaining_batches():
    shards = [FakeShard(0, 1000)]
    arguments = (shards, [0], torch.zeros(1, 3), torch.ones(1), 64, 0)
    whole = list(normalised_batches(*arguments, range(40)))
    rest = list(normalised_batches(*arguments, range(25, 40)))
    assert all(torch.equal(one, other) for one, other in zip(whole[25:], rest))


@pytest.mark.parametrize("layers", [(1,), (0, 1, 2)])
def test_shards_held_on_a_gpu_give_the_same_bits_and_wait_for_nothing(tmp_path, layers):
    shards = open_shards(write_split(tmp_path, rows=(700, 450)))
    mean = torch.randn(len(layers), shards[0].d_model)
    arguments = (layers, mean, torch.rand(len(layers)) + 0.5, 256, 3, range(9))
    expected = list(normalised_batches(shards, *arguments))
    with PretendedGPU() as gpu:
        held = [shard.held_on(DEVICE, layers) for shard in shards]
        gpu.waits.clear()
        found = list(normalised_batches(held, *arguments, DEVICE))
        assert gpu.waits == []
        assert all(
            torch.equal(one.cpu(), other) for one, other in zip(found, expected, strict=True)
        )


@given(
    rows=st.lists(st.integers(0, 400), min_size=1, max_size=4),
    n_layers=st.integers(1, 7),
    batch_size=st.sampled_from([8, 64, 96]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_every_token_is_read_at_every_layer(rows, n_layers, batch_size, seed):
    block = max(i for i in range(1, batch_size + 1) if batch_size % i == 0)
    if sum(n // block * block for n in rows) < batch_size:
        return
    plan = BatchPlan(rows, n_layers, batch_size, seed, every_layer=True)
    n_tokens = sum(n // plan.block_rows * plan.block_rows for n in rows)
    streams = [[] for _ in range(n_layers)]
    n_steps = n_tokens * n_layers // batch_size
    for step in range(n_steps):
        position, per_layer = 0, Counter()
        for segment in plan.segments(step):
            assert segment.position == position, "segments fill the batch without gaps"
            assert segment.start + segment.n_rows <= rows[segment.shard]
            position += segment.n_rows
            per_layer[segment.layer] += segment.n_rows
            streams[segment.layer] += rows_of(segment)
        assert position == batch_size
        counts = [per_layer[layer] for layer in range(n_layers)]
        assert max(counts) - min(counts) <= 1
    lengths = [len(stream) for stream in streams]
    assert sum(lengths) == n_steps * batch_size
    assert max(lengths) - min(lengths) <= 1, "no layer is more than a token ahead"
    longest = max(streams, key=len)
    assert all(stream == longest[: len(stream)] for stream in streams), "all read the same tokens"
    assert len(set(longest)) == len(longest), "and none twice in a pass"


def test_of_one_layer_every_layer_is_the_plain_plan():
    plain, every = (BatchPlan([1000, 700], 1, 128, 3, each) for each in (False, True))
    for step in range(plain.steps_per_pass):
        one, other = (
            [row for each in plan.segments(step) for row in rows_of(each)]
            for plan in (plain, every)
        )
        assert one == other


def test_the_next_pass_follows_without_a_gap():
    """384 rows in blocks of 128, by 2 layers: a batch of 256 ends a pass after three steps."""
    plan = BatchPlan([384], 2, 256, 0, every_layer=True)
    passes = [
        [
            row
            for step in steps
            for each in plan.segments(step)
            if not each.layer
            for row in rows_of(each)
        ]
        for steps in (range(3), range(3, 6))
    ]
    assert all(sorted(rows) == [(0, row) for row in range(384)] for rows in passes)
    assert passes[0] != passes[1]


@given(
    rows=st.lists(st.integers(100, 400), min_size=1, max_size=4),
    n_layers=st.integers(1, 7),
    batch_size=st.sampled_from([8, 64, 96]),
    n_tokens=st.integers(1, 2000),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_a_limited_plan_passes_over_the_first_tokens_again_and_again(
    rows, n_layers, batch_size, n_tokens, seed
):
    whole = BatchPlan(rows, n_layers, batch_size, seed)
    plan = BatchPlan(rows, n_layers, batch_size, seed, n_tokens=n_tokens)
    block, n_blocks = plan.block_rows, sum(n // whole.block_rows for n in rows)
    first = -(-max(n_tokens, batch_size) // block)
    if first >= n_blocks:
        for step in range(3 * whole.steps_per_pass):
            assert list(plan.segments(step)) == list(whole.segments(step))
        return
    pool = {
        (shard, start + i)
        for shard, start in whole._blocks_of(0)[:first].tolist()
        for i in range(block)
    }
    assert plan.steps_per_pass == first * block // batch_size
    read, at_layers = Counter(), Counter()
    for step in range(n_layers * plan.steps_per_pass):
        segments = list(plan.segments(step))
        assert sum(segment.n_rows for segment in segments) == batch_size
        for segment in segments:
            read.update(rows_of(segment))
            at_layers[segment.layer] += segment.n_rows
    assert set(read) <= pool
    assert max(read.values()) <= n_layers, "once in every pass"
    counts = [at_layers[layer] for layer in range(n_layers)]
    assert max(counts) - min(counts) <= n_layers * plan.steps_per_pass
    # What reads on from there reads other tokens, up to the end of the first pass.
    begin = -(-first * block // batch_size)
    later = {
        row
        for step in range(begin, whole.steps_per_pass)
        for segment in whole.segments(step)
        for row in rows_of(segment)
    }
    assert not later & pool


def test_passes_over_few_tokens_mix_them_anew_at_other_layers():
    plan = BatchPlan([4096], 4, 64, 0, n_tokens=1024)
    layers = {}
    for step in range(4 * plan.steps_per_pass):
        for segment in plan.segments(step):
            for row in rows_of(segment):
                layers.setdefault(row, []).append(segment.layer)
    assert len(layers) == 1024
    assert {len(each) for each in layers.values()} == {4}
    different = sum(len(set(each)) for each in layers.values()) / len(layers)
    assert 2.5 < different <= 4  # 4 (1 - (3/4)⁴) = 2.73 if layers were drawn
    first, second = ([list(plan.segments(step)) for step in range(n, n + 16)] for n in (0, 16))
    assert first != second


@pytest.mark.parametrize(
    ("rows", "every_layer", "n_tokens", "digest"),
    [
        ([1000, 700], False, None, "ade1b2c2f37a6c76"),
        ([1000, 700], True, None, "63caa75b9b25c830"),
        ([1000, 700], False, 600, "247b95654823dfc7"),
        ([90, 1000, 0, 128, 255], False, None, "190401a57e39418a"),
        ([90, 1000, 0, 128, 255], True, None, "62e67b7cec88439a"),
    ],
)
def test_the_order_is_that_of_earlier_versions(rows, every_layer, n_tokens, digest):
    """SAEs that were trained before are not to be trained again."""
    plan = BatchPlan(rows, 3, 128, 4, every_layer, n_tokens)
    told = repr([tuple(each) for step in range(60) for each in plan.segments(step)])
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == digest
