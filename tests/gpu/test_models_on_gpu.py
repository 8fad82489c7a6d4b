"""What language models are trained, read and measured with on a GPU, against the CPU."""

import copy

import pytest
import torch
from tiny_training import VOCAB_SIZE, network, settings, text

from clustersae.activations.collecting import Storage, Wanted, collect
from clustersae.clustering.distances import NAMES, layer_distances
from clustersae.models.residual import ResidualStream
from clustersae.pretraining.architecture import Architecture
from clustersae.pretraining.decoding import Decoder
from clustersae.pretraining.generation import Sampling, generate
from clustersae.pretraining.training import train
from clustersae.runtime import graphs

pytestmark = pytest.mark.gpu
#: The published model's width and heads, with fewer layers and a shorter context.
PUBLISHED = Architecture(2, 384, 6, 64, bias=False, initializer_range=0.02)


def trained(where, **changes):
    model = network().to(where)
    return train(model, text(), text(9, 1), settings(**changes), None), model


def losses(learning):
    return torch.tensor([point.validation_loss for point in learning.curve])


def test_a_training_in_float32_learns_what_the_cpu_learns(where, close):
    close(losses(trained(where)[0]), losses(trained("cpu")[0]), 1e-3, "validation losses")


def test_compiled_and_recorded_steps_learn_what_single_ones_learn(where, close):
    """In bfloat16, as the published models are trained; compiling rounds in other places."""
    compiled, single = (trained(where, dtype="bfloat16", compile=each)[0] for each in (True, False))
    close(losses(compiled), losses(single), 1e-2, "validation losses")


def test_a_recorded_function_has_the_bits_of_its_calls(where, same):
    if where.type != "cuda":
        pytest.skip("only CUDA records")
    weight = torch.randn(64, 64, device=where)
    plain, data = weight.clone(), [torch.randn(32, 64, device=where) for _ in range(8)]

    def step(matrix):
        def change(x):
            matrix.add_((x @ matrix).t() @ x, alpha=1e-3)
            return (x @ matrix).square().mean()

        return change

    recorded, single = graphs.Recorded(step(weight)), step(plain)
    for x in data:
        same(recorded(x).clone(), single(x), "loss")
    same(weight, plain, "weights")


@pytest.mark.parametrize("stride", [1, 32])
def test_text_is_the_same_with_the_cache_and_without(where, same, stride):
    decoder = Decoder(network(shape=PUBLISHED).to(where).eval())
    one, other = (
        torch.tensor(generate(decoder, [1], Sampling(100, top_k=VOCAB_SIZE), 0, None, stride, each))
        for each in (True, False)
    )
    same(one, other, "tokens")


def test_logits_of_single_steps_are_those_of_the_cpu(where, close):
    model = network(shape=PUBLISHED).eval()
    ids = torch.randint(VOCAB_SIZE, (40,))
    logits = []
    for place in (torch.device("cpu"), where):
        decoder = Decoder(copy.deepcopy(model).to(place))
        decoder.read(ids[:39].to(place))
        logits.append(decoder.extend(ids[39:].to(place), 39).clone())
    close(logits[1], logits[0], 1e-5, "logits")


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
def test_cached_activations_are_those_of_the_cpu(where, close, dtype, limit):
    model = network(shape=PUBLISHED).eval().requires_grad_(False)
    ids = torch.randint(VOCAB_SIZE, (12, 64))
    wanted = Wanted(torch.randperm(ids.numel()).reshape(ids.shape), torch.zeros_like(ids).bool())
    found = []
    for place in (where, torch.device("cpu")):
        stream = ResidualStream(copy.deepcopy(model).to(place), "transformer.h")
        found.append(collect(stream, ids, wanted, 384, Storage(dtype, (0, 1), batch_rows=5), place))
    for layer, (ours, plain) in enumerate(zip(*(each.layers for each in found))):
        close(ours, plain, limit, f"layer {layer}")


def test_running_on_from_a_block_gives_the_logits_of_the_model(where, close):
    stream = ResidualStream(network(shape=PUBLISHED).to(where).eval(), "transformer.h")
    ids = torch.randint(VOCAB_SIZE, (3, 64), device=where)
    logits, streams = stream.logits_and_streams(ids)
    for layer, x in enumerate(streams):
        close(stream.logits_from(layer, x, ids), logits, 1e-5, f"from layer {layer}")


def test_distances_of_layers_are_those_of_the_cpu(where, close):
    generator = torch.Generator().manual_seed(0)
    blocks = [torch.randn(4, 500, 32, generator=generator).cumsum(0) for _ in range(3)]
    mean = torch.cat(blocks, 1).double().mean(1)
    found, expected = (layer_distances(iter(blocks), mean.to(place)) for place in (where, "cpu"))
    for name in NAMES:
        close(getattr(found, name), getattr(expected, name), 1e-6, name)
