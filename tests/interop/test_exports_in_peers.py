"""What the tools themselves make of an export. Their environment: `make .interop/installed`."""

import sys

import export_saes
import pytest
import torch
from every_architecture import moved_sae, settings_of
from hub_server import Hub
from loopback import serving
from peer_tools import INTEROP, ROOT, needs_interop, run
from published_saes import published
from sae_settings_of import topk_settings
from safetensors.torch import load_file, save_file

from clustersae.exports import hub
from clustersae.exports.card import OWN, loading_code
from clustersae.exports.formats import FOLDERS, FORMATS
from clustersae.models.description import ModelDescription, read_description
from clustersae.runtime.files import write_json
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.registry import ARCHITECTURES
from clustersae.sae.storage import load_sae, save_sae

D_MODEL, D_SAE, K, LAYERS = 24, 96, 6, (2, 3)

pytestmark = [pytest.mark.long, needs_interop]


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
    settings = topk_settings(D_SAE, K)
    model = ModelDescription(
        n_layers=6, d_model=D_MODEL, n_ctx=64, vocab_size=100, bos_id=0, pad_id=None, eos_id=None,
        special_ids=(0,), adds_bos=True, blocks="h", restartable=True, fingerprint="f" * 64,
        source="gpt2",
    )  # fmt: skip
    source = folder / "saes/base/2-3/seed-0"
    save_sae(source, sae, settings, "base", model.fingerprint)
    (folder / "model").mkdir()
    write_json(folder / "model/description.json", model.__dict__)
    for format in FORMATS:
        index = folder / "exports" / format / "index.json"
        export_saes.main([source], folder / "model", format, index)
    return folder, load_sae(source)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("format", FORMATS)
def test_the_tool_encodes_and_decodes_as_we_do(exported, tmp_path, format, layer):
    folder, sae = exported
    place = folder / "exports" / format / "base/2-3/seed-0" / FOLDERS[format].format(layer=layer)
    generator = torch.Generator().manual_seed(layer)
    x = sae.layer_mean[LAYERS.index(layer)] + torch.randn(200, D_MODEL, generator=generator)
    save_file({"x": x}, tmp_path / "x")
    run(INTEROP, ROOT / "tests/interop/peer.py", format, place, tmp_path / "x", tmp_path / "found")
    found = load_file(tmp_path / "found")
    ours = sae.encode(x, layer)
    # Latents of an export are σ_l times ours where a layer has one scale (see `fold`).
    scale = sae.layer_scale[LAYERS.index(layer)] if sae.layer_scale.dim() == 1 else 1.0
    active = torch.zeros(200, D_SAE).scatter(1, ours.indices, ours.values * scale)
    torch.testing.assert_close(found["active"], active, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["decoded"], sae.decode(ours, layer), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def on_hub(exported, tmp_path_factory):
    """The SAE on a hub of the loopback: its address, what was published, and x [n, d_model]."""
    folder, sae = exported
    saes, formats = dict.fromkeys(LAYERS, sae), list(FORMATS)
    described = published("somebody/saes", read_description(folder / "model"), saes, formats)
    uploaded = tmp_path_factory.mktemp("hub") / "saes"
    hub.write_folder(uploaded, described, dict.fromkeys(LAYERS, folder / "saes/base/2-3/seed-0"))
    there = Hub("token")
    with serving(there.respond) as server, pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1")
        patch.setenv("HF_ENDPOINT", server.address)
        patch.setenv("HF_TOKEN", "token")
        hub.upload(uploaded, described.repo, private=False)
        yield described


#: How the tool that a card names decodes, after the card's own lines.
DECODE = {
    "saelens": "found = sae.decode(sae.encode(x))",
    "dictionary_learning": "found = dictionary.decode(dictionary.encode(x))",
    "sparsify": "top = sae.encode(x)\nfound = sae.decode(top.top_acts, top.top_indices)",
    OWN: "found = reconstruction",
}


@pytest.mark.parametrize("format", DECODE)
def test_the_code_of_the_model_card_loads_from_the_hub(exported, on_hub, tmp_path, format):
    _, sae = exported
    layer = LAYERS[-1]
    x = sae.layer_mean[1] + torch.randn(20, D_MODEL, generator=torch.Generator().manual_seed(7))
    save_file({"x": x}, tmp_path / "x")
    code = f"""
from safetensors.torch import load_file, save_file
x = load_file("{tmp_path}/x")["x"]
{loading_code(on_hub, format, layer)}
{DECODE[format]}
save_file({{"found": found.detach().contiguous()}}, "{tmp_path}/found")
"""
    own = format == OWN
    changes = {"PYTHONPATH": str(ROOT / "workflow/scripts")} if own else {}
    run(sys.executable if own else INTEROP, "-c", code, HF_HOME=str(tmp_path / "home"), **changes)
    found = load_file(tmp_path / "found")["found"]
    torch.testing.assert_close(found, sae.reconstruct(x, layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "topk"])
@pytest.mark.parametrize("format", ["saelens", "dictionary_learning"])
def test_every_architecture_is_decoded_as_it_is_here(exported, tmp_path, format, name):
    model = read_description(exported[0] / "model")
    sae = moved_sae(name, LAYERS, (0.5, 3.0), D_MODEL)
    source = tmp_path / "saes/base/2-3/seed-0"
    save_sae(source, sae, settings_of(name), "base", model.fingerprint)
    export_saes.main([source], exported[0] / "model", format, tmp_path / "exports/index.json")
    x = sae.denormalise(torch.randn(200, D_MODEL, generator=torch.Generator().manual_seed(5)), 3)
    save_file({"x": x}, tmp_path / "x")
    place = tmp_path / "exports/base/2-3/seed-0/layer_3"
    run(INTEROP, ROOT / "tests/interop/peer.py", format, place, tmp_path / "x", tmp_path / "found")
    found = load_file(tmp_path / "found")["decoded"]
    torch.testing.assert_close(found, sae.reconstruct(x, 3), rtol=1e-4, atol=1e-4)
