"""Of every family: what is imported, cached and spliced is what plain hooks read and write."""

import pytest
import torch
import transformers
from language_models import token_file
from model_zoo import D_MODEL, N_CTX, N_LAYERS, VOCAB_SIZE, ZOO, save_family

from clustersae.activations.caching import CachingSettings, cache_shard, measure_limits
from clustersae.activations.mask import save_limits
from clustersae.activations.shards import open_shard
from clustersae.corpora.tokens import write_tokens
from clustersae.models.description import read_description
from clustersae.models.importing import import_model
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream

BOS = 0


class Plain:
    """The original model, read and changed by hooks of torch alone, one row at a time."""

    def __init__(self, folder, blocks: str) -> None:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval()
        self.blocks = model.get_submodule(blocks)

    @torch.no_grad()
    def streams(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """The output of every block, each [batch, n_ctx, d_model]."""
        found = []
        handles = [
            block.register_forward_hook(lambda *given: found.append(first(given[2])))
            for block in self.blocks
        ]
        self.model(input_ids=tokens)
        for handle in handles:
            handle.remove()
        return found

    @torch.no_grad()
    def logits(self, tokens: torch.Tensor, changes: dict[int, torch.Tensor]) -> torch.Tensor:
        """Logits where the outputs of some blocks are given."""

        def replacing(x):
            return lambda _module, _inputs, output: (
                (x, *output[1:]) if isinstance(output, tuple) else x
            )

        handles = [self.blocks[n].register_forward_hook(replacing(x)) for n, x in changes.items()]
        logits = self.model(input_ids=tokens).logits
        for handle in handles:
            handle.remove()
        return logits


def first(output):
    return output[0] if isinstance(output, tuple) else output


@pytest.fixture(scope="module", params=ZOO)
def family(request, tmp_path_factory):
    """A plain model, and the folder that it was imported into."""
    folder = tmp_path_factory.mktemp(request.param)
    save_family(request.param, folder / "source")
    import_model(str(folder / "source"), folder / "model")
    return Plain(folder / "source", ZOO[request.param].blocks), folder / "model", request.param


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    """Rows of BOS, 3 to 31 tokens, and BOS as padding."""
    ids = torch.randint(1, VOCAB_SIZE, (5, N_CTX), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate([32, 4, 12, 20, 9]):
        ids[row, length:] = BOS
    ids[:, 0] = BOS
    return ids


def test_the_description_names_the_blocks_and_their_size(family):
    description = read_description(family[1])
    assert description.blocks == ZOO[family[2]].blocks
    assert (description.n_layers, description.d_model) == (N_LAYERS, D_MODEL)
    assert (description.n_ctx, description.vocab_size) == (N_CTX, VOCAB_SIZE)
    assert description.restartable


def test_cached_rows_are_what_plain_hooks_read(family, tokens, tmp_path):
    plain, model_dir, _ = family
    write_tokens(tmp_path / "tokens.safetensors", token_file(tokens, VOCAB_SIZE, BOS))
    settings = CachingSettings(batch_rows=2)
    n_tokens = int((tokens != BOS).sum())
    text, limits = tmp_path / "tokens.safetensors", tmp_path / "norms.safetensors"
    save_limits(limits, measure_limits(model_dir, text, "all", None, batch_rows=2))
    cache_shard(
        model_dir, text, limits, "train", 0, 1, n_tokens, tmp_path / "shard.safetensors", settings
    )
    shard = open_shard(tmp_path / "shard.safetensors")
    assert shard.n_rows == n_tokens
    row, column = shard.sequences().long(), shard.positions().long()
    alone = [plain.streams(ids[None]) for ids in tokens]
    for layer in range(N_LAYERS):
        expected = torch.cat([streams[layer] for streams in alone])[row, column]
        torch.testing.assert_close(shard.layer(layer), expected, rtol=1e-4, atol=1e-4)
        assert layer == 0 or not torch.allclose(expected, shard.layer(layer - 1), atol=1e-2)


def test_hidden_states_of_transformers_are_the_same_streams(family, tokens):
    plain, model_dir, _ = family
    description = read_description(model_dir)
    stream = ResidualStream(load_model(model_dir, description), description)
    with torch.no_grad():
        states = plain.model(input_ids=tokens, output_hidden_states=True).hidden_states
    # The first is the embedding; the last comes after the final norm.
    for ours, theirs in zip(stream.capture(tokens)[:-1], states[1:-1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_a_spliced_stream_gives_the_logits_of_a_plain_hook(family, tokens, layer):
    plain, model_dir, _ = family
    description = read_description(model_dir)
    stream = ResidualStream(load_model(model_dir, description), description)
    x = stream.capture(tokens)[layer]
    changed = x + x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(layer))
    expected = plain.logits(tokens, {layer: changed})
    with stream.replaced({layer: lambda _: changed}):
        torch.testing.assert_close(stream.logits(tokens), expected, rtol=1e-4, atol=1e-4)
    found = stream.logits_from(layer, changed, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected, plain.logits(tokens, {}), atol=1e-2)
