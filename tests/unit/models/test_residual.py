import pytest
import torch
from language_models import (
    FAMILIES,
    N_CTX,
    N_LAYERS,
    STORIES,
    VOCAB_SIZE,
    needs_stories,
    save_tiny_model,
    stories,
    tiny_stream,
)

from clustersae.models.anatomy import describe
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime.errors import InputError


@pytest.fixture(scope="module", params=FAMILIES)
def stream(request, tmp_path_factory) -> ResidualStream:
    return tiny_stream(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(VOCAB_SIZE, (4, N_CTX), generator=torch.Generator().manual_seed(1))


def test_the_last_stream_gives_the_logits(stream, tokens):
    """The only things after the last block are the final norm and the unembedding."""
    base = stream.model.base_model
    name = next(n for n in ("ln_f", "final_layer_norm", "norm") if hasattr(base, n))
    x = getattr(base, name)(stream.capture(tokens)[-1])
    logits = stream.model.get_output_embeddings()(x)
    torch.testing.assert_close(logits, stream.logits(tokens))


def test_replacing_a_stream_by_itself_changes_nothing(stream, tokens):
    clean = stream.logits(tokens)
    with stream.replaced(dict.fromkeys(range(N_LAYERS), torch.clone)):
        torch.testing.assert_close(stream.logits(tokens), clean, rtol=0, atol=0)


def test_a_replacement_reaches_later_layers_only_and_ends_with_its_context(stream, tokens):
    before = stream.capture(tokens)
    seen = {}
    changes = {1: lambda x: 2 * x, 2: lambda x: seen.__setitem__("later", x)}
    with stream.replaced(changes):
        stream.logits(tokens)
    assert not torch.allclose(seen["later"], before[2])
    for x, y in zip(stream.capture(tokens), before):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_running_on_from_a_layer_equals_the_whole_model(stream, tokens, layer):
    clean, streams = stream.logits_and_streams(tokens)
    torch.testing.assert_close(stream.logits_from(layer, streams[layer], tokens), clean)
    x = torch.randn(streams[layer].shape, generator=torch.Generator().manual_seed(2))
    with stream.replaced({layer: lambda _: x}):
        expected = stream.logits(tokens)
    torch.testing.assert_close(stream.logits_from(layer, x, tokens), expected)
    assert not torch.allclose(expected, clean)
    torch.testing.assert_close(stream.logits(tokens), clean, rtol=0, atol=0)


def test_running_on_really_skips_the_blocks_before(stream, tokens):
    _, streams = stream.logits_and_streams(tokens)
    ran = []
    handles = [
        child.register_forward_pre_hook(lambda *_, index=index: ran.append(index))
        for index, block in enumerate(stream.blocks)
        for child in list(block.children())[:1]
    ]
    stream.logits_from(1, streams[1], tokens)
    for handle in handles:
        handle.remove()
    assert set(ran) == set(range(2, N_LAYERS))


def test_blocks_after_the_last_layer_of_interest_are_not_run(stream, tokens):
    run = []
    handles = [
        block.register_forward_pre_hook(lambda *_, index=index: run.append(index))
        for index, block in enumerate(stream.blocks)
    ]
    try:
        some = stream.capture(tokens, [1, 0])
    finally:
        for handle in handles:
            handle.remove()
    assert run == [0, 1]
    for x, y in zip(some, stream.capture(tokens)):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_padding_at_the_right_changes_nothing_before_it(stream, tokens):
    short = stream.capture(tokens[:, :10])
    for x, y in zip(stream.capture(tokens), short):
        torch.testing.assert_close(x[:, :10], y)


def test_an_exchanged_model_is_refused(tmp_path):
    folder = save_tiny_model("gpt2", tmp_path)
    description = describe(folder, "here")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"not the one that its description\.json describes"):
        load_model(folder, description)


@needs_stories
def test_a_real_model_and_transformerlens_agree_at_every_layer():
    from transformer_lens.model_bridge import TransformerBridge

    tokens = stories(2)[:, :128]
    description = describe(STORIES, "stories260k")
    stream = ResidualStream(load_model(STORIES, description), description)
    bridge = TransformerBridge.boot_transformers(str(STORIES), device="cpu")
    with torch.no_grad():
        logits, cache = bridge.run_with_cache(tokens)
    for layer, x in enumerate(stream.capture(tokens)):
        torch.testing.assert_close(x, cache[description.hook.format(l=layer)], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stream.logits(tokens), logits, rtol=1e-4, atol=1e-4)
