"""What the tools themselves make of an export. Their environment: `make .interop/installed`."""

import os
import subprocess
from pathlib import Path

import export_saes
import pytest
import torch
from every_architecture import moved_sae, settings_of
from safetensors.torch import load_file, save_file

from clustersae.experiment.sae_settings import SAESettings
from clustersae.exports.formats import FOLDERS, FORMATS
from clustersae.models.description import ModelDescription
from clustersae.runtime.files import write_json
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.registry import ARCHITECTURES
from clustersae.sae.storage import load_sae, save_sae

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("CLUSTERSAE_INTEROP_PYTHON", ROOT / ".interop" / "bin" / "python"))
D_MODEL, D_SAE, K, LAYERS = 24, 96, 6, (2, 3)

MODEL = ModelDescription(
    n_layers=6, d_model=D_MODEL, n_ctx=64, vocab_size=100, bos_id=0, pad_id=None, eos_id=None,
    special_ids=(0,), adds_bos=True, blocks="h", restartable=True, fingerprint="f" * 64,
    source="gpt2",
)  # fmt: skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PYTHON.is_file(), reason="needs make .interop/installed"),
]


def without_project() -> dict[str, str]:
    """The environment variables of a process that is to know nothing of this project."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@pytest.fixture(scope="module", params=["scale", "dimensions"])
def exported(request, tmp_path_factory):
    """An SAE of two layers that a few steps of noise have moved, and its folder of exports."""
    folder = tmp_path_factory.mktemp(request.param)
    generator = torch.Generator().manual_seed(0)
    shape = (2,) if request.param == "scale" else (2, D_MODEL)
    mean = 5 * torch.randn(2, D_MODEL, generator=generator)
    sae = TopK(LAYERS, D_SAE, K, mean, 0.5 + torch.rand(*shape, generator=generator))
    sae.initialise(generator)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
    settings = SAESettings("topk", D_SAE, K, 1, 1, 1e-3, 0, 0, 0, 1, 1, 0)
    source = folder / "saes/base/2-3/seed-0"
    save_sae(source, sae, settings, "base", MODEL.fingerprint)
    (folder / "model").mkdir()
    write_json(folder / "model/description.json", MODEL.__dict__)
    for format in FORMATS:
        index = folder / "exports" / format / "index.json"
        export_saes.main([source], folder / "model", format, index)
    return folder, load_sae(source)


def of_peer(format, place, x, folder) -> dict[str, torch.Tensor]:
    """What the tool makes of x: dense latents, and the reconstruction."""
    save_file({"x": x}, folder / "x")
    arguments = [format, place, folder / "x", folder / "found"]
    peer = ROOT / "tests/interop/peer.py"
    subprocess.run([PYTHON, peer, *arguments], check=True, env=without_project(), timeout=600)
    return load_file(folder / "found")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("format", FORMATS)
def test_the_tool_encodes_and_decodes_as_we_do(exported, tmp_path, format, layer):
    folder, sae = exported
    place = folder / "exports" / format / "base/2-3/seed-0" / FOLDERS[format].format(layer=layer)
    generator = torch.Generator().manual_seed(layer)
    x = sae.layer_mean[LAYERS.index(layer)] + torch.randn(200, D_MODEL, generator=generator)
    found = of_peer(format, place, x, tmp_path)
    ours = sae.encode(x, layer)
    # Latents of an export are σ_l times ours where a layer has one scale (see `fold`).
    scale = sae.layer_scale[LAYERS.index(layer)] if sae.layer_scale.dim() == 1 else 1.0
    active = torch.zeros(200, D_SAE).scatter(1, ours.indices, ours.values * scale)
    torch.testing.assert_close(found["active"], active, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["decoded"], sae.decode(ours, layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "topk"])
@pytest.mark.parametrize("format", ["saelens", "dictionary_learning"])
def test_it_does_so_for_every_architecture(tmp_path, format, name):
    sae = moved_sae(name, LAYERS, (0.5, 3.0), D_MODEL)
    source = tmp_path / "saes/base/2-3/seed-0"
    save_sae(source, sae, settings_of(name), "base", MODEL.fingerprint)
    (tmp_path / "model").mkdir()
    write_json(tmp_path / "model/description.json", MODEL.__dict__)
    export_saes.main([source], tmp_path / "model", format, tmp_path / "exports/index.json")
    x = sae.denormalise(torch.randn(200, D_MODEL, generator=torch.Generator().manual_seed(5)), 3)
    place = tmp_path / "exports/base/2-3/seed-0/layer_3"
    found = of_peer(format, place, x, tmp_path)["decoded"]
    torch.testing.assert_close(found, sae.reconstruct(x, 3), rtol=1e-4, atol=1e-4)
