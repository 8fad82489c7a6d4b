import pytest
import torch
from safetensors.torch import load_file, save_file

from clustersae.activations.shards import open_shard, open_shards, permutation, write_shard
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors


def write(path, shard=0, fingerprint="a" * 64, split="train", dtype=torch.float32):
    generator = torch.Generator().manual_seed(shard)
    layers = [torch.randn(10, 4, generator=generator).to(dtype) for _ in range(2)]
    numbers = torch.arange(10, dtype=torch.int32)
    write_shard(
        path, layers, numbers, numbers + 1, numbers + 2, fingerprint=fingerprint,
        hook="blocks.{l}.hook_resid_post", split=split, shard=shard, seed=0,
    )  # fmt: skip
    return layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_was_written_is_read(tmp_path, dtype):
    layers = write(tmp_path / "a.safetensors", dtype=dtype)
    shard = open_shard(tmp_path / "a.safetensors", "a" * 64)
    assert (shard.n_rows, shard.layers, shard.d_model) == (10, (0, 1), 4)
    assert shard.layer(1).dtype == torch.float32
    assert torch.equal(shard.layer(0), layers[0].float())
    assert torch.equal(shard.layer(1, 3, 7), layers[1][3:7].float())
    assert torch.equal(shard.rows(1, torch.tensor([7, 2])), layers[1][[7, 2]].float())
    assert shard.tokens().tolist() == list(range(10))
    assert shard.positions().tolist() == list(range(1, 11))
    assert shard.sequences().tolist() == list(range(2, 12))
    with pytest.raises(InputError, match=r"the layers \[0, 1\], not 2"):
        shard.layer(2)


def test_rows_of_int8_have_a_scale_each(tmp_path):
    path, numbers = tmp_path / "a.safetensors", torch.arange(3, dtype=torch.int32)
    layers = [torch.tensor([[127, -64], [1, 127], [0, 0]]) for _ in range(2)]
    scales = [torch.tensor([0.5, 2.0, 1e-9]) for _ in range(2)]
    centre = torch.tensor([[0.0, 0.0], [10.0, -10.0]])
    write_shard(
        path, [each.to(torch.int8) for each in layers], numbers, numbers + 1, numbers + 2,
        fingerprint="a" * 64, hook="hook", split="train", shard=0, seed=0, centre=centre,
        scales=scales,
    )  # fmt: skip
    shard = open_shard(path)
    assert (shard.n_rows, shard.metadata["dtype"]) == (3, "int8")
    assert shard.layer(0).tolist() == [[63.5, -32.0], [2.0, 254.0], [0.0, 0.0]]
    assert shard.layer(1, 1, 3).tolist() == [[12.0, 244.0], [10.0, -10.0]]
    assert shard.rows(0, torch.tensor([1, 0])).tolist() == [[2.0, 254.0], [63.5, -32.0]]


def test_a_slice_is_a_view_of_the_mapped_file(tmp_path):
    write(tmp_path / "a.safetensors")
    shard = open_shard(tmp_path / "a.safetensors")
    size = (tmp_path / "a.safetensors").stat().st_size
    piece = shard.layer(1, 2, 4)
    assert piece.untyped_storage().data_ptr() == shard.layer(0).untyped_storage().data_ptr() or (
        piece.untyped_storage().size() <= size
    )
    assert piece.data_ptr() - shard.layer(1).data_ptr() == 2 * 4 * 4


def test_a_foreign_shard_is_refused(tmp_path):
    write(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"a\.safetensors holds activations of another model"):
        open_shard(tmp_path / "a.safetensors", "b" * 64)


@pytest.mark.parametrize("place", [-5, -100, -200])
def test_a_changed_bit_is_noticed_by_whoever_reads_it_and_by_nobody_else(tmp_path, place):
    path = tmp_path / "a.safetensors"
    write(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    shard = open_shard(path)
    refusals = []
    for read in (shard.tokens, shard.positions, shard.sequences, shard.layer, shard.layer):
        arguments = [len(refusals) - 3] if read == shard.layer else []
        try:
            refusals.append(read(*arguments) is None)
        except InputError as error:
            refusals.append("a.safetensors is damaged: the checksum of" in str(error))
    assert sum(refusals) == 1


def test_a_truncated_shard_is_refused_at_once(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"a\.safetensors is damaged or truncated"):
        open_shard(path)


def test_another_safetensors_file_is_not_a_shard(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="not a shard of activations"):
        open_shard(tmp_path / "a.safetensors")


def test_exchanged_layers_are_noticed(tmp_path):
    """The checksum covers names too, not just bytes."""
    path = tmp_path / "a.safetensors"
    write(path)
    _, metadata = load_tensors(path)
    tensors = load_file(path)
    tensors["layer.0"], tensors["layer.1"] = tensors["layer.1"], tensors["layer.0"]
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match=r"the checksum of layer\.0"):
        open_shard(path).layer(0)


def test_shards_come_in_the_order_of_their_index(tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in (10, 2, 0)]
    for path in paths:
        write(path, shard=int(path.stem))
    assert [shard.index for shard in open_shards(paths)] == [0, 2, 10]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fingerprint": "b" * 64}, "fingerprint"),
        ({"split": "test"}, "split"),
        ({"dtype": torch.float16}, "dtype"),
        ({"shard": 0}, "both shard 0"),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(tmp_path, change, reason):
    write(tmp_path / "a.safetensors", shard=0)
    write(tmp_path / "b.safetensors", **({"shard": 1} | change))
    with pytest.raises(InputError, match=rf"(?s)b\.safetensors.*{reason}"):
        open_shards([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


@pytest.mark.parametrize(("without", "told"), [("hook", "lacks hook"), ("layer.", "holds no")])
def test_what_is_no_shard_is_refused(tmp_path, without, told):
    write(tmp_path / "a.safetensors")
    tensors, metadata = load_tensors(tmp_path / "a.safetensors")
    kept = {name: each for name, each in tensors.items() if not name.startswith(without)}
    save_file(kept, tmp_path / "a.safetensors", {n: s for n, s in metadata.items() if n != without})
    with pytest.raises(InputError, match=f"is not a shard of activations: it {told}"):
        open_shard(tmp_path / "a.safetensors")


def test_without_a_shard_there_is_nothing_to_open():
    with pytest.raises(InputError, match="No shards of activations were given"):
        open_shards([])


def test_the_permutation_depends_on_seed_split_and_shard_only():
    reference = permutation(0, "train", 3, 1000)
    assert torch.equal(reference, permutation(0, "train", 3, 1000))
    assert sorted(reference.tolist()) == list(range(1000))
    for other in [(1, "train", 3), (0, "test", 3), (0, "train", 4)]:
        assert (permutation(*other, 1000) == reference).sum() < 20


def test_what_is_said_of_a_shard_is_sealed_as_well(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path)
    tensors, metadata = load_tensors(path)
    save_file(load_file(path), path, {**metadata, "seed": "1"})
    with pytest.raises(InputError, match=r"a\.safetensors is damaged: its checksum does not match"):
        open_shard(path)
    del metadata["seal"]  # by an earlier version
    save_file(load_file(path), path, metadata)
    assert torch.equal(open_shard(path).layer(0), tensors["layer.0"])
