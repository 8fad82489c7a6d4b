"""What the table says of tokens that were left out, against all of them gathered in one array."""

import pytest
import torch
from synthetic_shards import made_shard
from torch.utils._python_dispatch import TorchDispatchMode

from clustersae.activations.blocks import read_blocks
from clustersae.activations.mask import NormLimits, Reason
from clustersae.activations.shards import LeftOut, Shard, open_shards
from clustersae.activations.statistics import compute_statistics
from clustersae.activations.table import stream_table

LAYERS, D_MODEL, N_KEPT = (2, 5), 8, 40
LIMITS = NormLimits(LAYERS, torch.ones(2).double(), 10.0, torch.zeros(2, D_MODEL), 0.9, 40, "f")
#: Of each shard; none is left out of the fourth.
LEFT_OUT = (50, 1, 37, 0, 50)


@pytest.fixture
def shards(tmp_path):
    generator = torch.Generator().manual_seed(0)

    def rows(n_rows, place, spread):
        return place + spread * torch.randn(n_rows, D_MODEL, generator=generator)

    for index, n_left in enumerate(LEFT_OUT):
        described = torch.zeros(4, n_left, dtype=torch.int32)
        described[3] = torch.randint(len(Reason), (n_left,), generator=generator)
        left = LeftOut(described, [rows(n_left, 30.0, 9.0), rows(n_left, -4.0, 0.5)])
        layers = [rows(N_KEPT, 5.0, 2.0), rows(N_KEPT, -1.0, 3.0)]
        path = tmp_path / f"{index}.safetensors"
        made_shard(path, layers, shard=index, studied=LAYERS, left_out=left)
    return open_shards(sorted(tmp_path.iterdir()))


def share(left, kept):
    """Of the squares around their own mean, how much is not that of the kept tokens."""
    whole = torch.cat([kept, left])
    around = [(x - x.mean(0)).square().sum() for x in (kept, whole)]
    return (1 - around[0] / around[1]).item()


def test_shares_are_those_of_all_left_out_tokens_of_all_shards(shards):
    table = stream_table(shards, compute_statistics(read_blocks(shards)), LIMITS)
    reasons = torch.cat([shard.reasons() for shard in shards])
    assert [row["layer"] for row in table] == list(LAYERS)
    for row in table:
        kept, left = (
            torch.cat([read(shard, row["layer"]) for shard in shards]).double()
            for read in (Shard.layer, Shard.left_out)
        )
        assert row["left_out_share"] == pytest.approx(share(left, kept), rel=1e-12)
        for reason in Reason:
            name, own = reason.name.lower(), left[reasons == reason]
            assert row[f"n_{name}"] == len(own) > 10
            assert row[f"{name}_share"] == pytest.approx(share(own, kept), rel=1e-11)


def test_tokens_of_several_shards_are_never_held_together(shards):
    """They may be millions of every layer, in float64."""

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
                self.numbers = max(self.numbers, made.numel())
            return made

    statistics = compute_statistics(read_blocks(shards))
    with Largest() as largest:
        stream_table(shards, statistics, LIMITS)
    assert 0 < largest.numbers <= max(LEFT_OUT) * D_MODEL
