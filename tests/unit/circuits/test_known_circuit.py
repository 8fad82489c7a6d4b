"""A linear model of two layers whose circuit is known, because it was built."""

import numpy as np
import pytest
import torch
from dense_latents import dense
from tiny_circuits import LinearModel

from clustersae.circuits.attribution import attributed_effects, exact_effects
from clustersae.circuits.controls import random_scores
from clustersae.circuits.curves import curve
from clustersae.circuits.dictionaries import dictionaries_of, residual_basis
from clustersae.circuits.faithfulness import Evaluation
from clustersae.circuits.nodes import Node, Nodes, top
from clustersae.circuits.pairs import Pairs
from clustersae.circuits.recording import record, run_clean
from clustersae.models.residual import ResidualStream
from clustersae.sae.architectures.topk import TopK

D_MODEL, VOCAB_SIZE = 6, 8
SIGNAL, ANSWER, DISTRACTOR, UNREAD, CONSTANT = range(5)
#: Tokens: which of the two subjects, which of the two fillers, and the end of the prompt.
SUBJECT, FILLER, END = (1, 2), (3, 4), 5
#: Answers.
A, B = 6, 7


def build(rotation):
    """Block 0 does nothing. Block 1 moves SIGNAL, from wherever it is, to ANSWER. ANSWER is read.

    Subjects write ±1 to SIGNAL and to UNREAD, fillers ±1 to DISTRACTOR, the end CONSTANT (which is
    read, but the same in all prompts). Block 1 moves DISTRACTOR too, to UNREAD. The model thinks in
    the rows of `rotation` [D_MODEL, D_MODEL].
    """
    embedding = torch.zeros(VOCAB_SIZE, D_MODEL)
    for sign, subject, filler in zip((1.0, -1.0), SUBJECT, FILLER):
        embedding[subject, [SIGNAL, UNREAD]] = sign
        embedding[filler, DISTRACTOR] = sign
    embedding[END, CONSTANT] = 1
    nothing, moves = torch.zeros(D_MODEL, D_MODEL), torch.zeros(D_MODEL, D_MODEL)
    moves[SIGNAL, ANSWER] = moves[DISTRACTOR, UNREAD] = 3
    unembedding = torch.zeros(D_MODEL, VOCAB_SIZE)
    unembedding[ANSWER, [A, B]] = torch.tensor([2.0, -2.0])
    unembedding[CONSTANT, [A, B]] = torch.tensor([0.5, 0.0])
    back = rotation.t()
    model = LinearModel(
        embedding @ rotation,
        [(nothing, nothing), (nothing, back @ moves @ rotation)],
        back @ unembedding,
    )
    return ResidualStream(model, "blocks")


def prompts(fillers):
    """Both subjects, with each of the given fillers; corrupted: the other subject and filler."""
    rows = [(s, f) for s in (0, 1) for f in fillers]
    clean = torch.tensor([[SUBJECT[s], FILLER[f], END] for s, f in rows])
    corrupted = torch.tensor([[SUBJECT[1 - s], FILLER[1 - f], END] for s, f in rows])
    answer = torch.tensor([(A, B)[s] for s, _ in rows])
    return Pairs(clean, corrupted, answer, A + B - answer, torch.arange(len(rows)))


def dictionary_along(rows):
    """Both signs of every row: an SAE of both layers that finds what the model thinks in."""
    sae = TopK((0, 1), 2 * D_MODEL, D_MODEL, torch.zeros(2, D_MODEL), torch.tensor([1.0, 0.5]))
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([rows, -rows]))
        sae.W_enc.copy_(sae.W_dec.t())
    return dictionaries_of([sae.requires_grad_(False)])


@pytest.fixture
def rotation():
    normal = torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(normal).Q


def study(stream, dictionaries):
    """Effects, and the evaluation on test prompts."""
    training = record(stream, prompts([0, 1]))
    effects = attributed_effects(stream, dictionaries, [training])
    test = run_clean(stream, prompts([1, 0]))
    return training, effects, Evaluation(stream, dictionaries, [training], [test], "mean")


def test_the_circuit_is_found_and_is_all_of_the_behaviour(rotation):
    stream, dictionaries = build(rotation), dictionary_along(rotation)
    training, effects, evaluation = study(stream, dictionaries)
    nodes = Nodes(dictionaries)
    circuit = {
        Node(0, SIGNAL), Node(0, SIGNAL + D_MODEL), Node(1, ANSWER), Node(1, ANSWER + D_MODEL),
    }  # fmt: skip
    assert {nodes.node(number) for number in top(effects, 4)} == circuit
    # m goes from ±(2 + 2) · 3 · (±1 / 3) to its opposite; the two signs share that equally.
    assert effects[top(effects, 4)].tolist() == pytest.approx([-4] * 4, abs=1e-5)
    rest = top(effects, nodes.n_nodes)[4:]
    assert effects[rest].abs().max() < 1e-5
    exact = exact_effects(stream, dictionaries, [training], list(range(nodes.n_nodes)))
    torch.testing.assert_close(effects, exact, rtol=1e-4, atol=1e-5)

    sweep = evaluation.sweep(effects, [0, 1, 2, 4, 10, nodes.n_nodes])
    assert sweep.full == pytest.approx([4.5, 4.5, 3.5, 3.5], abs=1e-5)
    assert sweep.empty == pytest.approx([0.5, 0.5, -0.5, -0.5], abs=1e-5)
    assert curve(sweep, "faithfulness")[[0, 3, 4, 5]] == pytest.approx([0, 1, 1, 1], abs=1e-5)
    assert curve(sweep, "completeness")[[0, 3, 4, 5]] == pytest.approx([1, 0, 0, 0], abs=1e-5)
    # One layer's part of the circuit is a wall to the other's: alone it says nothing.
    assert curve(sweep, "faithfulness")[1] == pytest.approx(0, abs=1e-5)


def test_nodes_that_vary_but_are_not_read_are_no_part_of_it(rotation):
    stream, dictionaries = build(rotation), dictionary_along(rotation)
    training, effects, _ = study(stream, dictionaries)
    for latent in (DISTRACTOR, UNREAD):
        values = [dense(dictionaries[0].encode(x), 2 * D_MODEL)[..., latent]
                 for x in (training.clean[0], training.corrupted[0])]  # fmt: skip
        assert (values[1] - values[0]).abs().max() > 0.5
        assert abs(float(effects[latent])) < 1e-5


def test_without_rotation_the_residual_basis_finds_it_and_with_it_does_not(rotation):
    for turn, faithful in ((torch.eye(D_MODEL), True), (rotation, False)):
        stream = build(turn)
        dictionaries = residual_basis(range(2), D_MODEL)
        _, effects, evaluation = study(stream, dictionaries)
        [share] = curve(evaluation.sweep(effects, [2]), "faithfulness")
        if faithful:
            found = {Nodes(dictionaries).node(number) for number in top(effects, 2)}
            assert found == {Node(0, SIGNAL), Node(1, ANSWER)}
            assert share == pytest.approx(1, abs=1e-5)
        else:
            assert share < 0.9


def test_random_circuits_of_that_size_do_not_carry_it(rotation):
    stream, dictionaries = build(rotation), dictionary_along(rotation)
    _, effects, evaluation = study(stream, dictionaries)
    # Rotated rounding gives every node that varies some effect: count those as candidates.
    shares = [
        curve(evaluation.sweep(random_scores(effects, seed), [4]), "faithfulness")[0]
        for seed in range(10)
    ]
    assert np.mean(shares) < 0.5
    again = random_scores(effects, 3)
    assert torch.equal(again, random_scores(effects, 3))
    assert not torch.equal(again, random_scores(effects, 4))


def test_random_circuits_begin_with_nodes_that_have_an_effect():
    effects = torch.tensor([0.0, -1e-3, 0.0, 5.0, 0.0])
    firsts = set()
    for seed in range(20):
        order = random_scores(effects, seed).argsort(descending=True).tolist()
        assert set(order[:2]) == {1, 3}
        firsts.add(order[0])
    assert firsts == {1, 3}
