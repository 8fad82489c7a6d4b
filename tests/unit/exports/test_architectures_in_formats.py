"""Exports of every architecture, decoded by what each tool makes of its tensors."""

import json

import export_saes
import pytest
import torch
import torch.nn.functional as F
from every_architecture import moved_sae, settings_of
from safetensors.torch import load_file
from test_formats import MODEL

from clustersae.experiment.architectures import EXPORTED
from clustersae.exports.formats import FORMATS
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_json
from clustersae.sae.registry import ARCHITECTURES
from clustersae.sae.storage import save_sae

LAYERS, K = (1, 4), 4


def export(name, format, folder):
    """The SAE, and the folders of its layers."""
    sae = moved_sae(name, LAYERS, (0.5, 3.0), MODEL.d_model)
    source = folder / "saes/base/1+4/seed-0"
    save_sae(source, sae, settings_of(name), "base", MODEL.fingerprint)
    (folder / "model").mkdir()
    write_json(folder / "model/description.json", MODEL.__dict__)
    index = folder / "exports/index.json"
    export_saes.main([source], folder / "model", format, index)
    entries = json.loads(index.read_text())["saes"]
    return sae, [index.parent / entry["folder"] for entry in entries]


def saelens(folder, x):
    """Reconstruction as sae_lens 6 has it, and what it calls the architecture."""
    own = load_file(folder / "sae_weights.safetensors")
    config = json.loads((folder / "cfg.json").read_text())
    assert config["apply_b_dec_to_input"]
    product = (x - own["b_dec"]) @ own["W_enc"]
    kind = config["architecture"]
    if kind == "gated":
        magnitude = (x - own["b_dec"]) @ (own["W_enc"] * own["r_mag"].exp()) + own["b_mag"]
        latents = (product + own["b_gate"] > 0) * F.relu(magnitude)
        assert "b_enc" not in own
    else:
        latents = F.relu(product + own["b_enc"])
        if kind == "topk":
            kept = latents.topk(config["k"])
            latents = torch.zeros_like(latents).scatter(1, kept.indices, kept.values)
        if kind == "jumprelu":
            assert own["threshold"].shape == own["b_enc"].shape
            latents = latents * (latents > own["threshold"])
    return latents @ own["W_dec"] + own["b_dec"], kind


def dictionary_learning(folder, x):
    """Reconstruction as dictionary_learning 0.1 has it, and what it calls the class."""
    own = torch.load(folder / "ae.pt", weights_only=True)
    trainer = json.loads((folder / "config.json").read_text())["trainer"]
    kind = trainer["dict_class"]
    if kind == "GatedAutoEncoder":
        product = (x - own["decoder_bias"]) @ own["encoder.weight"].T
        magnitude = F.relu(own["r_mag"].exp() * product + own["mag_bias"])
        latents = (product + own["gate_bias"] > 0) * magnitude
        return latents @ own["decoder.weight"].T + own["decoder_bias"], kind
    if kind == "AutoEncoder":
        latents = F.relu((x - own["bias"]) @ own["encoder.weight"].T + own["encoder.bias"])
        return latents @ own["decoder.weight"].T + own["bias"], kind
    if kind == "JumpReluAutoEncoder":
        pre = x @ own["W_enc"] + own["b_enc"]
        return (pre * (pre > own["threshold"])) @ own["W_dec"] + own["b_dec"], kind
    assert own["k"] == K
    if kind == "MatryoshkaBatchTopKSAE":
        assert own["group_sizes"].tolist() == [5, 5, 10]
        latents = F.relu((x - own["b_dec"]) @ own["W_enc"] + own["b_enc"])
        return (latents * (latents > own["threshold"])) @ own["W_dec"] + own["b_dec"], kind
    latents = F.relu((x - own["b_dec"]) @ own["encoder.weight"].T + own["encoder.bias"])
    if kind == "BatchTopKSAE":
        latents = latents * (latents > own["threshold"])
    else:
        kept = latents.topk(trainer["k"])
        latents = torch.zeros_like(latents).scatter(1, kept.indices, kept.values)
    return latents @ own["decoder.weight"].T + own["b_dec"], kind


KINDS = {
    saelens: ("topk", "jumprelu", "jumprelu", "jumprelu", "standard", "gated"),
    dictionary_learning: (
        *("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"),
        *("JumpReluAutoEncoder", "AutoEncoder", "GatedAutoEncoder"),
    ),
}


@pytest.mark.parametrize("tool", KINDS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_is_reconstructed_as_the_shared_sae_does_there(tmp_path, name, tool):
    sae, folders = export(name, tool.__name__, tmp_path)
    for layer, folder in zip(LAYERS, folders, strict=True):
        noise = torch.randn(60, MODEL.d_model, generator=torch.Generator().manual_seed(layer))
        x = sae.denormalise(noise, layer)
        found, kind = tool(folder, x)
        assert kind == KINDS[tool][list(ARCHITECTURES).index(name)]
        torch.testing.assert_close(found, sae.reconstruct(x, layer), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "topk"])
def test_what_a_format_cannot_express_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"SAE 1\+4 is to be .* only topk SAEs, no {name}\."):
        export(name, "sparsify", tmp_path)
    assert set(EXPORTED) == set(FORMATS)
