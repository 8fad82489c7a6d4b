import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from language_models import (
    BOS,
    D_MODEL,
    FAMILIES,
    N_LAYERS,
    STORIES,
    VOCAB_SIZE,
    needs_stories,
    padded_tokens,
    stories,
    tiny_stream,
)

from clustersae.activations.mask import NormLimits
from clustersae.models.anatomy import describe
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.quality import splice as splicing
from clustersae.quality.language_model import measure_ablations
from clustersae.quality.splice import (
    EvaluationTokens,
    mean_ablation,
    measure,
    recovered,
    splice_of,
    zero_ablation,
)
from clustersae.sae.architectures.crosscoder import Crosscoder

D_SAE, K = 32, 4


class Identity:
    def __init__(self, layers):
        self.layers = tuple(layers)

    def reconstruct(self, x, layer, bounded=False):
        return x.clone()


class Noise(Identity):
    """A bad SAE, the same for every batching."""

    def reconstruct(self, x, layer, bounded=False):
        return x + 0.3 * torch.sin(7 * x + layer)


class Mean(Identity):
    def __init__(self, layers, mean):
        super().__init__(layers)
        self.mean = mean

    def reconstruct(self, x, layer, bounded=False):
        return self.mean[layer].expand_as(x)


@pytest.fixture(scope="module", params=FAMILIES)
def stream(request, tmp_path_factory):
    return tiny_stream(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def text():
    ids = padded_tokens()
    return EvaluationTokens(ids, ids != BOS, (ids != BOS)[:, 1:])


@pytest.fixture
def mean():
    return torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(3)).double()


def brute_force(stream, text, changes):
    """CE and KL one row and one position at a time, with plain hooks over the whole model."""
    ce, kl = [], []
    for row, kept in zip(text.tokens, text.kept):
        length = int(kept.nonzero().max()) + 1
        row = row[None, :length]
        mask = kept[:length, None]

        def spliced(change, mask=mask):
            return lambda x: torch.where(mask, change(x).float(), x)

        clean = stream.logits(row).double().log_softmax(-1)[0]
        with stream.replaced({layer: spliced(change) for layer, change in changes.items()}):
            changed = stream.logits(row).double().log_softmax(-1)[0]
        for position in range(length - 1):
            ce.append(-changed[position, row[0, position + 1]].item())
            kl.append(
                F.kl_div(changed[position], clean[position], log_target=True, reduction="sum")
            )
    return sum(ce) / len(ce), float(sum(kl) / len(kl)), len(ce)


def test_the_identity_loses_nothing(stream, text):
    saes = [Identity([0, 2]), Identity([1])]
    splices = [splice_of(saes, [layer]) for layer in range(N_LAYERS)] + [splice_of(saes)]
    clean, effects, _ = measure(stream, text, splices)
    ablated = measure(stream, text, [zero_ablation([1])])[1][0].ce
    for effect in effects:
        assert effect.ce == pytest.approx(clean, abs=1e-6)
        assert effect.kl == pytest.approx(0, abs=1e-6)
        assert recovered(ablated, effect.ce, clean) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("layers", [[0], [1], [2], [0, 2], [0, 1, 2]])
def test_a_splice_equals_brute_force(stream, text, layers):
    splice = splice_of([Noise(layers)])
    clean, [effect], n_tokens = measure(stream, text, [splice])
    ce, kl, count = brute_force(stream, text, splice)
    assert (effect.ce, effect.kl) == pytest.approx((ce, kl), rel=1e-4)
    assert n_tokens == count == 86 - 6  # each row but its BOS is predicted
    assert clean == pytest.approx(brute_force(stream, text, {})[0], rel=1e-5)
    assert effect.kl > 1e-3


def test_an_sae_that_gives_the_mean_recovers_nothing(stream, text, mean):
    for layers in [[0], [1], [2], [0, 1, 2]]:
        clean, [sae, ablated], _ = measure(
            stream,
            text,
            [
                splice_of([Mean(layers, mean)]),
                mean_ablation({layer: mean[layer] for layer in layers}),
            ],
        )
        assert recovered(ablated.ce, sae.ce, clean) == pytest.approx(0, abs=1e-6)
        assert ablated.ce != pytest.approx(clean, abs=1e-3)


def test_the_figures_do_not_depend_on_the_batches(stream, text):
    splices = [splice_of([Noise([0, 1, 2])]), splice_of([Noise([1])])]
    expected = measure(stream, text, splices, batch_rows=6)
    for batch_rows in (1, 4):
        clean, effects, n_tokens = measure(stream, text, splices, batch_rows)
        assert clean == pytest.approx(expected[0], rel=1e-5)
        assert n_tokens == expected[2]
        for effect, other in zip(effects, expected[1]):
            assert effect == pytest.approx(other, rel=1e-4)


def test_bos_and_padding_are_left_alone(stream, text):
    """A splice that would wreck BOS only, or what stands behind the text, changes nothing."""
    seen = []

    class Watch(Identity):
        def reconstruct(self, x, layer, bounded=False):
            wrecked = x.clone()
            wrecked[:, 0] = 1e3
            seen.append(x.shape)
            return wrecked

    clean, [effect], _ = measure(stream, text, [splice_of([Watch([0, 1, 2])])])
    assert len(seen) == N_LAYERS
    assert effect.ce == pytest.approx(clean, abs=1e-6)


def test_a_model_that_cannot_restart_gives_the_same_figures(stream, text):
    splices = [splice_of([Noise([1])]), splice_of([Noise([0, 2])])]
    expected = measure(stream, text, splices)
    stream.restartable = False
    try:
        clean, effects, _ = measure(stream, text, splices)
    finally:
        stream.restartable = True
    assert clean == pytest.approx(expected[0])
    for effect, other in zip(effects, expected[1]):
        assert effect == pytest.approx(other, rel=1e-5)


class Told(Identity):
    """The identity, and nothing where it is to be bounded."""

    def reconstruct(self, x, layer, bounded=False):
        return torch.zeros_like(x) if bounded else x


def test_a_bounded_splice_asks_every_sae_for_bounded_reconstructions(stream, text):
    saes, layers = [Told([0, 2]), Told([1])], list(range(N_LAYERS))
    splices = [splice_of(saes), splice_of(saes, bounded=True), zero_ablation(layers)]
    clean, (plain, bounded, zero), _ = measure(stream, text, splices)
    assert plain.ce == pytest.approx(clean)
    assert bounded == zero
    assert bounded.ce != pytest.approx(clean)


@pytest.mark.parametrize("entries", [1, 7 * VOCAB_SIZE])
def test_logits_in_pieces_give_the_same_figures(stream, text, monkeypatch, entries):
    splices = [splice_of([Noise([1])]), splice_of([Noise([0, 2])])]
    expected = measure(stream, text, splices)
    monkeypatch.setattr(splicing, "MAX_LOGITS", entries)
    clean, effects, _ = measure(stream, text, splices)
    assert clean == pytest.approx(expected[0], rel=1e-6)
    for effect, other in zip(effects, expected[1]):
        assert effect == pytest.approx(other, rel=1e-4)


def test_tokens_beyond_the_limits_pass_through_unchanged(stream, text):
    """As if they were not among the tokens whose stream may change."""
    streams = stream.capture(text.tokens)
    norms = torch.stack([x.norm(dim=-1) for x in streams])
    median = norms[:, text.kept].double().median(1).values
    limits = NormLimits(tuple(range(N_LAYERS)), median, 1.1, torch.zeros(0), 1.0, 1, "")
    inside = (norms <= 1.1 * median[:, None, None]).all(0)
    assert 0 < int((text.kept & ~inside).sum()) < int(text.kept.sum())
    splices = [splice_of([Noise([1])]), splice_of([Noise([0, 1, 2])])]
    clean, effects, n_scored = measure(stream, text, splices, limits=limits)
    expected = measure(stream, text._replace(kept=text.kept & inside), splices)
    assert (clean, n_scored) == (expected[0], expected[2])
    for effect, other in zip(effects, expected[1]):
        assert effect == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("shift", [0, -300, 300])
@pytest.mark.parametrize("size", [1e-3, 1e-1, 1.0, 10.0, 100.0])
def test_divergences_of_a_large_vocabulary_are_exact(size, shift):
    """Against float64: small ones (the difference of two entropies would lose a divergence of
    5e-7), those of predictions far away, and of logits that all move together, which tell nothing.
    """
    generator = torch.Generator().manual_seed(0)
    clean = 4 * torch.randn(20, 50_000, generator=generator)
    changed = clean + size * torch.randn(20, 50_000, generator=generator) + shift
    head = SimpleNamespace(vocab_size=50_000, unembed=lambda logits: logits)
    scores = splicing.Scores(head, clean, torch.zeros(20, dtype=torch.int64))
    p, q = (logits.double().log_softmax(-1) for logits in (clean, changed))
    expected = F.kl_div(q, p, log_target=True, reduction="sum")
    effect = scores.of(changed)
    # Far from 0, float32 itself has fewer digits.
    assert effect.kl == pytest.approx(float(expected), rel=1e-3 if shift else 1e-4)
    assert effect.ce == pytest.approx(float(-q[:, 0].sum()), rel=1e-6)


def test_divergence_is_not_measured_where_nobody_asks(stream, text):
    _, [effect], _ = measure(stream, text, [splice_of([Noise([1])])], divergence=False)
    assert math.isnan(effect.kl)
    assert effect.ce == measure(stream, text, [splice_of([Noise([1])])])[1][0].ce


def test_two_saes_for_one_layer_are_refused():
    with pytest.raises(ValueError, match="Two SAEs serve layer 1"):
        splice_of([Identity([0, 1]), Identity([1])])
    with pytest.raises(ValueError, match=r"No SAE serves the layers \[2\]"):
        splice_of([Identity([0, 1])], [2])


def test_a_crosscoder_writes_a_layer_from_the_clean_streams_of_all_of_its_layers(
    stream, text, mean
):
    """One row at a time, with the code of its clean streams, and plain hooks."""
    layers = [0, 2]
    sae = Crosscoder(layers, D_SAE, K, mean[layers], torch.tensor([1.0, 2.0]))
    sae.initialise(torch.Generator().manual_seed(5))
    _, effects, n_scored = measure(stream, text, [splice_of([sae], [each]) for each in layers])
    for place, layer in enumerate(layers):
        total = 0.0
        for row, kept in zip(text.tokens, text.kept):
            length = int(kept.nonzero().max()) + 1
            row, mask = row[None, :length], kept[:length, None]
            clean = torch.stack(list(stream.capture(row, layers)), -2)
            written = sae.decode(sae.encode(clean))[..., place, :]
            with stream.replaced({layer: lambda x, w=written, m=mask: torch.where(m, w, x)}):
                predicted = stream.logits(row).double().log_softmax(-1)[0]
            total -= predicted[:-1].gather(1, row[0, 1:, None]).sum().item()
        assert effects[place].ce == pytest.approx(total / n_scored, rel=1e-5)
    # What is in the stream counts for nothing: it was read in the clean pass.
    change = splice_of([sae], [0])[0].at(dict(zip(layers, clean.unbind(-2))))
    assert torch.equal(change(clean[..., 0, :]), change(torch.zeros_like(clean[..., 0, :])))


def test_ablating_the_last_layer_to_zero_is_worked_by_hand(stream, text, mean):
    """Zero after the last block leaves the norm's bias through the unembedding: no context."""
    rows = {(row["mode"], row["layer"]): row for row in measure_ablations(stream, text, mean)}
    assert len(rows) == 1 + 2 * (N_LAYERS + 1)
    zeros = torch.zeros(1, 1, D_MODEL)
    base = stream.model.base_model
    norm = next(getattr(base, n) for n in ("ln_f", "final_layer_norm", "norm") if hasattr(base, n))
    constant = stream.model.get_output_embeddings()(norm(zeros))[0, 0].log_softmax(-1)
    clean = stream.logits(text.tokens).log_softmax(-1)
    # BOS keeps its stream, so the first word of each row is predicted as in the clean model.
    total = -clean[:, 0].gather(1, text.tokens[:, 1:2]).sum()
    total -= constant[text.tokens[:, 2:][text.kept[:, 2:]]].sum()
    assert rows["zero", N_LAYERS - 1]["ce"] == pytest.approx(float(total) / 80, rel=1e-5)
    assert rows["zero", "all"]["ce"] == pytest.approx(rows["zero", N_LAYERS - 1]["ce"])
    assert rows["mean", "all"]["ce"] == pytest.approx(rows["mean", N_LAYERS - 1]["ce"])


@needs_stories
def test_the_published_loss_of_a_real_model_is_found():
    tokens = stories(60)
    description = describe(STORIES, "stories260k")
    stream = ResidualStream(load_model(STORIES, description), description)
    kept = tokens != 1
    text = EvaluationTokens(tokens, kept, kept[:, 1:])
    ce, _, n_tokens = measure(stream, text, [], batch_rows=16)
    assert n_tokens == int((tokens[:, 1:] != 1).sum())
    assert ce == pytest.approx(1.3008, abs=2e-3)  # 1.2968 on the whole validation split
