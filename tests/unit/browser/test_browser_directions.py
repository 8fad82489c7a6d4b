"""Effects on logits against the formula spelled out, and nearest latents against all cosines."""

import numpy as np
import pytest
import torch
from hostile_files import little_memory
from language_models import FAMILIES, VOCAB_SIZE, save_tiny_model

from clustersae.browser.directions import directions_of, logit_effects, nearest
from clustersae.models.anatomy import describe
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.sae.architectures.topk import TopK

#: Of each family: the final norm, and whether it centres.
NORMS = {"gpt2": ("transformer.ln_f", True), "gpt_neox": ("gpt_neox.final_layer_norm", True),
         "llama": ("model.norm", False)}  # fmt: skip


def spelled_out(model, family, directions):
    """W_U (γ ⊙ d̂), d̂ being the direction, centred if the norm does, at root mean square 1."""
    name, centres = NORMS[family]
    d = directions - directions.mean(1, keepdim=True) if centres else directions
    d = d / d.pow(2).mean(1, keepdim=True).sqrt()
    norm = model.get_submodule(name)
    return (d * norm.weight) @ model.get_output_embeddings().weight.T


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_are_those_of_the_final_norm_and_the_unembedding(family, tmp_path):
    folder = save_tiny_model(family, tmp_path)
    description = describe(folder, str(folder), None, False)
    model = load_model(folder, description)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a gain and a bias that matter
        for name, weight in model.get_submodule(NORMS[family][0]).named_parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator) + (name == "weight"))
    directions = torch.randn(7, description.d_model, generator=generator)
    expected = spelled_out(model, family, directions)
    head = ResidualStream(model, description).unembed
    found = logit_effects(head, directions, n_tokens=VOCAB_SIZE)
    for sign, tokens, values in (
        (-1, found.promoted, found.promoted_effect),
        (1, found.suppressed, found.suppressed_effect),
    ):
        order = np.argsort(sign * expected.numpy(), axis=1, kind="stable")
        assert (tokens == order).mean() > 0.99  # near ties may change places
        ordered = np.take_along_axis(expected.numpy(), tokens, 1)
        assert values == pytest.approx(ordered, rel=1e-3, abs=1e-4)
    # Only the direction counts, not how long it is.
    longer = logit_effects(head, 1000 * directions, n_tokens=3)
    assert longer.promoted_effect == pytest.approx(found.promoted_effect[:, :3], rel=1e-3, abs=1e-4)


def test_a_scale_per_dimension_turns_directions():
    mean, scale = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    sae = TopK((4, 6), 5, 2, mean, scale)
    sae.initialise(torch.Generator().manual_seed(0))
    latents = torch.tensor([3, 0])
    assert directions_of(sae, 4, latents).equal(sae.W_dec[latents] * scale[0])
    assert directions_of(sae, 6, latents).equal(sae.W_dec[latents])


def test_nearest_of_many_latents_take_little_memory():
    rows = torch.nn.functional.normalize(torch.randn(24_000, 2), dim=1)
    with little_memory():  # all cosines at once are 2.3 GB
        latents, _ = nearest(rows, rows, torch.arange(len(rows)), 1)
    assert (rows[latents[:, 0]] * rows).sum(1).min() > 1 - 1e-5


def test_nearest_are_the_live_latents_of_the_largest_cosine(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    rows, others = (torch.randn(n, 4, generator=generator) for n in (6, 9))
    live = torch.tensor([0, 2, 3, 5, 8])
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], others[live], dim=2)
    monkeypatch.setattr("clustersae.browser.directions.BLOCK", 4)  # a whole block, and part of one
    latents, values = nearest(rows, others, live, 3)
    assert latents.tolist() == live[cosines.argsort(1, descending=True)[:, :3]].tolist()
    assert values == pytest.approx(cosines.sort(1, descending=True).values[:, :3].numpy())


def test_fewer_latents_than_asked_for_are_all_that_there_are():
    rows, others = torch.eye(3), torch.eye(3)
    latents, values = nearest(rows, others, torch.tensor([1]), 5)
    assert latents.tolist() == [[1], [1], [1]]
    assert values.tolist() == [[0], [1], [0]]
    latents, values = nearest(rows, others, torch.tensor([], dtype=torch.int64), 5)
    assert latents.shape == values.shape == (3, 0)
