"""Text from a model: the cache changes nothing, and the window is that of the published run."""

import numpy as np
import pytest
import torch
from pretended_gpu import DEVICE, PretendedGPU

from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.decoding import Decoder
from clustersae.pretraining.generation import Sampling, _drawn, generate, measure, window_start
from clustersae.runtime import graphs

N_CTX, VOCAB_SIZE, BOS = 12, 9, 0
PLAIN = Sampling(n_tokens=40)


@pytest.fixture(scope="module")
def model():
    """Far from its start, so that it has opinions and places matter; with biases."""
    shape = Architecture(3, 16, 2, N_CTX)
    model = build_model(shape, VOCAB_SIZE, BOS, None, seed=0, dropout=0.3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


def test_logits_are_those_of_transformers(model):
    decoder, ids = Decoder(model), [3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 8, 7]
    for n_read in (1, 5, 12):
        read = decoder.read(torch.tensor(ids[:n_read]))
        assert torch.allclose(read, logits_of(model, ids[:n_read]), atol=1e-5)
        for place in range(n_read, N_CTX):
            extended = decoder.extend(torch.tensor([ids[place]]), place)
            assert torch.allclose(extended, logits_of(model, ids[: place + 1]), atol=1e-5)


def test_what_an_earlier_text_left_in_the_cache_does_not_matter(model):
    decoder = Decoder(model)
    decoder.read(torch.arange(8))
    decoder.read(torch.tensor([4, 4]))
    expected = logits_of(model, [4, 4, 2])
    assert torch.allclose(decoder.extend(torch.tensor([2]), 2), expected, atol=1e-5)


def test_windows():
    assert [window_start(length, 4, 1) for length in (1, 4, 5, 6, 9)] == [0, 0, 1, 2, 5]
    assert [window_start(length, 4, 2) for length in (1, 4, 5, 6, 7, 8, 9)] == [0, 0, 2, 2, 4, 4, 6]
    for length in range(1, 60):  # as full as it can be, and never more than that
        seen = length - window_start(length, 8, 4)
        assert min(length, 5) <= seen <= 8


@pytest.mark.parametrize("bos_id", [None, BOS])
@pytest.mark.parametrize("stride", [1, 3, 6])
def test_the_cache_does_not_change_what_is_written(model, stride, bos_id):
    decoder = Decoder(model)
    for seed in range(4):
        texts = [
            generate(decoder, [2, 3], PLAIN, seed, bos_id, stride, cached)
            for cached in (True, False)
        ]
        assert texts[0] == texts[1]
        assert len(texts[0]) == 40
    assert generate(decoder, [2, 3], PLAIN, 0, bos_id, stride) != texts[0]


def test_the_cache_saves_work(model):
    class Counting(Decoder):
        n_read = 0

        def read(self, tokens):
            self.n_read += len(tokens)
            return super().read(tokens)

    decoder = Counting(model)
    generate(decoder, [2], PLAIN, 0, stride=6)
    assert decoder.n_read == 1 + 7 * len(range(13, 41, 6))  # the first token, and moved windows
    decoder.n_read = 0
    generate(decoder, [2], PLAIN, 0, stride=6, cached=False)
    assert decoder.n_read > 300


@pytest.mark.parametrize(("bos_id", "room"), [(None, 12), (BOS, 11)])
def test_text_is_that_of_a_loop_over_the_last_tokens(model, bos_id, room):
    """The published loop, with transformers' own forward pass: crop, divide, keep k, draw."""
    sampling = Sampling(n_tokens=30, temperature=0.7, top_k=4)
    noise = np.random.default_rng(5).gumbel(size=(30, VOCAB_SIZE)).astype(np.float32)
    ids = [2]
    for row in noise:
        logits = logits_of(model, [*([] if bos_id is None else [bos_id]), *ids[-room:]]) / 0.7
        kept = logits >= logits.sort(descending=True).values[3]
        scores = np.where(kept, logits.numpy() + row, -np.inf)
        ids.append(int(scores.argmax()))
    assert generate(Decoder(model), [2], sampling, 5, bos_id) == ids[1:]


def test_tokens_are_drawn_as_often_as_their_probability_says():
    logits, sampling, n = torch.tensor([1.0, 0.0, 2.0, -1.0]), Sampling(1, 0.8, 3), 4000
    noise = torch.from_numpy(np.random.default_rng(0).gumbel(size=(n, 4)))
    drawn = torch.stack([_drawn(logits, row, sampling) for row in noise])
    expected = torch.tensor([1.0, 0.0, 2.0, -torch.inf]).div(0.8).softmax(0)
    frequencies = torch.bincount(drawn, minlength=4) / n
    assert torch.allclose(frequencies, expected, atol=0.03)
    assert frequencies[3] == 0


def test_speed_is_recorded_per_sample_and_the_text_depends_on_the_seed(model):
    sampling = Sampling(n_tokens=20)
    record = measure(model, [2], seed=3, bos_id=BOS, sampling=sampling, n_samples=2)
    for name, stride in {"window_of_the_last_tokens": 1, "window_in_halves": 5}.items():
        rates = record[name]["tokens_per_second"]
        assert len(rates) == 2
        assert record[name]["stride"] == stride
        assert record[name]["avg_tokens_per_second"] == pytest.approx(np.mean(rates))
    assert record["first_sample"] == generate(Decoder(model), [2], sampling, 3, BOS)
    assert (record["samples"], record["n_tokens"], record["top_k"]) == (2, 20, 200)
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("stride", [1, 6])
def test_a_window_of_fixed_size_writes_the_same(model, stride):
    """What is recorded on a GPU, here without recording: what lies behind the last token is old."""
    fixed = Decoder(model)
    fixed._graphs = {
        "read": lambda: fixed._read(fixed._window, fixed._last),
        "extend": lambda: fixed._extend(fixed._token, fixed._last),
    }
    for cached in (True, False):
        expected = generate(Decoder(model), [2], PLAIN, 3, BOS, stride)
        assert generate(fixed, [2], PLAIN, 3, BOS, stride, cached) == expected
    for ids in ([3, 1, 4, 1, 5], [2, 6]):
        read = fixed.read(torch.tensor(ids))
        assert torch.allclose(read, logits_of(model, ids), atol=1e-5)


def test_a_model_in_training_is_refused(model):
    with pytest.raises(ValueError, match=r"call model\.eval"):
        Decoder(build_model(Architecture(1, 16, 2, N_CTX), VOCAB_SIZE, BOS, None, seed=0))


@pytest.mark.parametrize("with_graphs", [False, True])
def test_a_gpu_writes_what_the_cpu_writes_and_is_waited_for_at_the_end(
    model, with_graphs, monkeypatch
):
    shape = Architecture(3, 16, 2, N_CTX)
    copy = build_model(shape, VOCAB_SIZE, BOS, None, seed=0).eval()
    copy.load_state_dict(model.state_dict())
    expected = {stride: generate(Decoder(model), [2], PLAIN, 3, BOS, stride) for stride in (1, 6)}
    with PretendedGPU() as gpu:
        monkeypatch.setattr(graphs, "can_record", lambda device: with_graphs and device == DEVICE)
        monkeypatch.setattr(graphs, "aside", lambda step: step())
        monkeypatch.setattr(graphs, "record", gpu.record)
        decoder = Decoder(copy.to(DEVICE))
        for stride, text in expected.items():
            gpu.waits.clear()
            assert generate(decoder, [2], PLAIN, 3, BOS, stride) == text
            # Noise, BOS and the prompt are brought there, and the text is brought back.
            assert len(gpu.waits) <= 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_recorded_graphs_write_what_the_cpu_writes(model):
    copy = build_model(Architecture(3, 16, 2, N_CTX), VOCAB_SIZE, BOS, None, seed=0)
    copy.load_state_dict(model.state_dict())
    copy.eval()
    on_gpu, on_cpu = Decoder(copy.to("cuda")), Decoder(model)
    for stride in (1, 6):
        expected = generate(on_cpu, [2], PLAIN, 3, BOS, stride)
        for cached in (True, False):
            assert generate(on_gpu, [2], PLAIN, 3, BOS, stride, cached) == expected
