"""What SAELens' `evals` and SAEBench's core evaluation say of an export, beside our own numbers.

They differ in what they ask, which is taken into account here:

- cross-entropy counts where the token that is read is not special; ours, where the next one is not
  (`TokenFile.scored`);
- the ablated stream is zero at special tokens as well, which ours leaves as it is;
- SAELens' `mse` is a sum over dimensions; SAEBench divides it by the tokens of a batch, too;
- SAEBench 0.6 divides the error by E‖x‖² − (E‖x‖² / d_model)², which is no variance.
"""

import json

import pytest
import torch
from language_models import D_MODEL, N_CTX, VOCAB_SIZE, save_tiny_model, write_description
from peer_tools import INTEROP, ROOT, SAEBENCH, needs_interop, needs_saebench, run
from sae_settings_of import topk_settings
from safetensors.torch import save_file

from clustersae.exports.formats import LayerSAE, write_layer
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.quality.reconstruction import evaluate_layer
from clustersae.quality.splice import EvaluationTokens, measure, splice_of
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import load_sae, save_sae
from clustersae.sae.training import Trainer, train

LAYERS, LAYER, N_STEPS = (0, 1), 1, 300

pytestmark = pytest.mark.long


def random_text(n_rows, seed):
    """Rows that begin with BOS, int64 [n_rows, n_ctx]."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, VOCAB_SIZE, (n_rows, N_CTX), generator=generator)
    tokens[:, 0] = 0
    return tokens


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A model, an SAE that was trained on two of its layers, and held-out text: its folder, the
    stream, the SAE and the tokens."""
    folder = tmp_path_factory.mktemp("evaluated")
    model = save_tiny_model("gpt2", folder / "model")
    write_description(model, model / "description.json", str(model))
    description = read_description(model)
    stream = ResidualStream(load_model(model, description), description)

    read = [x[:, 1:].reshape(-1, D_MODEL) for x in stream.capture(random_text(400, 0), LAYERS)]
    mean = torch.stack([x.mean(0) for x in read])
    scale = torch.stack([(x - centre).square().mean().sqrt() for x, centre in zip(read, mean)])
    sae = TopK(LAYERS, 64, 6, mean, scale)
    sae.initialise(torch.Generator().manual_seed(0))
    settings = topk_settings(
        64, 6, n_steps=N_STEPS, batch_size=256, learning_rate=1e-2, decay_steps=60, dead_after=10**5
    )
    normalised = torch.cat([sae.normalise(x, layer) for x, layer in zip(read, LAYERS)])
    order = torch.Generator().manual_seed(1)
    picks = (torch.randint(len(normalised), (256,), generator=order) for _ in range(N_STEPS))
    train(Trainer(sae, settings), (normalised[pick] for pick in picks))
    save_sae(folder / "sae", sae, settings, "base", description.fingerprint)
    sae = load_sae(folder / "sae")
    write_layer(folder / "saelens", "saelens", LayerSAE(sae, LAYER, description))

    tokens = random_text(64, 2)
    tokens[[3, 40], [5, 9]] = 0  # a special token within the text, in either half
    save_file({"tokens": tokens}, folder / "rows")
    return folder, stream, sae, tokens


@pytest.fixture(scope="module")
def ours(evaluated):
    """Our measurements of the same, where the tools count."""
    _, stream, sae, tokens = evaluated
    kept = tokens != 0
    x = stream.capture(tokens, [LAYER])[0][kept]
    metrics = evaluate_layer(sae, LAYER, [x])
    text = EvaluationTokens(tokens, kept, kept[:, :-1])
    clean, [spliced], _ = measure(stream, text, [splice_of([sae], [LAYER])])
    everywhere = text._replace(kept=torch.ones_like(kept))
    _, [ablated], _ = measure(stream, everywhere, [{LAYER: torch.zeros_like}])
    found = metrics.compute()
    assert 0.02 < found["fvu"] < 0.5
    assert abs(spliced.ce - clean) > 1e-3  # the text is random: either way
    return {
        "fvu": found["fvu"],
        "ce_loss_without_sae": clean,
        "ce_loss_with_sae": spliced.ce,
        "ce_loss_with_ablation": ablated.ce,
        "ce_loss_score": (ablated.ce - spliced.ce) / (ablated.ce - clean),
        "l0": found["l0"],
        "cossim": found["cosine"],
        "squared_error": found["mse"] * D_MODEL,
        "squared_norm": x.double().square().sum(1).mean().item(),
        "n_kept": int(kept.sum()),
        "density": (metrics.fired / metrics.n_tokens).tolist(),
    }


@pytest.mark.parametrize(
    ("tool", "python"),
    [
        pytest.param("saelens", INTEROP, marks=needs_interop),
        pytest.param("saebench", SAEBENCH, marks=needs_saebench),
    ],
)
def test_the_tool_measures_what_we_measure(evaluated, ours, tmp_path, tool, python):
    folder, _, _, _ = evaluated
    script = ROOT / "tests/interop/evaluate.py"
    export = folder / f"saelens/layer_{LAYER}"
    arguments = [tool, folder / "model", export, folder / "rows", tmp_path / "found"]
    run(python, script, *arguments, HF_HUB_OFFLINE="1")
    found = json.loads((tmp_path / "found").read_text())
    quality = found["scalars"]["reconstruction_quality"]

    behaviour = found["scalars"]["model_performance_preservation"]
    assert behaviour == pytest.approx({name: ours[name] for name in behaviour}, rel=1e-4)
    assert found["scalars"]["sparsity"]["l0"] == pytest.approx(ours["l0"], rel=1e-6)
    assert found["density"] == pytest.approx(ours["density"], abs=1e-6)
    assert quality["cossim"] == pytest.approx(ours["cossim"], rel=1e-4)
    error, square = ours["squared_error"], ours["squared_norm"]
    if tool == "saelens":
        assert quality["explained_variance"] == pytest.approx(1 - ours["fvu"], abs=1e-5)
        assert quality["mse"] == pytest.approx(error, rel=1e-4)
    else:
        expected = 1 - error / (square - (square / D_MODEL) ** 2)
        assert quality["explained_variance"] == pytest.approx(expected, abs=1e-5)
        assert quality["mse"] == pytest.approx(error / (ours["n_kept"] / 2), rel=1e-4)
