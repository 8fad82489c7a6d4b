import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersae.activations.blocks import read_blocks, split_rows
from clustersae.runtime.errors import InputError


class ShardInMemory:
    """A shard over one tensor `[n_layers, n_rows, d_model]`."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows
        n_layers, self.n_rows, self.d_model = rows.shape
        self.layers = tuple(range(n_layers))

    def layer(self, layer, start=0, stop=None):
        return self.rows[layer, start:stop]


@pytest.fixture
def rows():
    """Activations of three layers `[n_layers, n_rows, d_model]`, no two rows alike."""
    return torch.arange(3 * 101 * 8, dtype=torch.float32).reshape(3, 101, 8)


def test_blocks_hold_every_row_of_every_shard_once_and_in_order(rows):
    shards = [ShardInMemory(part) for part in rows.split([40, 1, 60], dim=1)]
    blocks = list(read_blocks(shards, rows_per_block=17))
    assert torch.equal(torch.cat(blocks, dim=1), rows)


def test_a_shard_is_cut_into_blocks_of_nearly_equal_size(rows):
    blocks = list(read_blocks([ShardInMemory(rows)], rows_per_block=50))
    assert [block.shape[1] for block in blocks] == [33, 34, 34]


def test_a_limit_takes_the_first_rows_of_every_shard(rows):
    parts = rows.split([40, 1, 60], dim=1)
    blocks = list(read_blocks([ShardInMemory(part) for part in parts], n_rows=51))
    taken = split_rows([40, 1, 60], 51)
    expected = [part[:, :quota] for part, quota in zip(parts, taken)]
    assert torch.equal(torch.cat(blocks, dim=1), torch.cat(expected, dim=1))


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=9), st.integers(1, 10000))
def test_a_limit_is_met_exactly_and_evenly(sizes, n_rows):
    quotas = split_rows(sizes, n_rows)
    assert sum(quotas) == min(n_rows, sum(sizes))
    fraction = min(n_rows / sum(sizes), 1.0)
    for size, quota in zip(sizes, quotas):
        assert 0 <= quota <= size
        assert abs(quota - fraction * size) <= 1


def test_shards_of_different_models_are_refused(rows):
    shards = [ShardInMemory(rows), ShardInMemory(rows[:2])]
    with pytest.raises(InputError, match="2 layers of width 8, 3 layers of width 8"):
        list(read_blocks(shards))


def test_no_shard_at_all_is_refused():
    with pytest.raises(InputError, match="found no shard"):
        list(read_blocks([]))
