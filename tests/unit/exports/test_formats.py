"""Exports decoded by hand, by what each format means: the same latents, the same reconstruction."""

import json
from pathlib import Path
from tempfile import mkdtemp

import export_saes
import pytest
import torch
from sae_settings_of import topk_settings
from safetensors.torch import load_file

from clustersae.exports.formats import FORMATS
from clustersae.models.description import ModelDescription
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_json
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import load_sae, save_sae

D_MODEL, D_SAE, K = 12, 40, 5
LAYERS = (1, 4)
SETTINGS = topk_settings(D_SAE, K, seed=3)
MODEL = ModelDescription(
    n_layers=6, d_model=D_MODEL, n_ctx=64, vocab_size=100, bos_id=0, pad_id=None, eos_id=None,
    special_ids=(0,), adds_bos=True, blocks="h", restartable=True, fingerprint="f" * 64,
    source="some/model",
)  # fmt: skip


@pytest.fixture(params=["scale", "dimensions"])
def project(request, tmp_path):
    """A model's description and one SAE of two layers; the folder, and the SAE as it is read."""
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(2, D_MODEL, generator=generator)
    shape = (2,) if request.param == "scale" else (2, D_MODEL)
    scale = 0.5 + torch.rand(*shape, generator=generator)
    sae = TopK(LAYERS, D_SAE, K, mean, scale)
    sae.initialise(generator)
    with torch.no_grad():
        sae.b_enc.normal_(generator=generator)
        sae.b_dec.normal_(generator=generator)
    folder = tmp_path / "saes" / "base" / "1+4" / "seed-3"
    data = {"normalisation": request.param, "left_out": {"max_norm_multiple": 10}}
    save_sae(folder, sae, SETTINGS, "base", MODEL.fingerprint, data=data)
    (tmp_path / "model").mkdir()
    write_json(tmp_path / "model/description.json", MODEL.__dict__)
    return tmp_path, load_sae(folder)


def export(project, format, rows=None):
    folder, _ = project
    index = folder / "exports" / format / "index.json"
    export_saes.main([folder / "saes/base/1+4/seed-3"], folder / "model", format, index, rows)
    return index.parent / "base/1+4/seed-3", json.loads(index.read_text())


def read(folder, format):
    """(W_enc [d_model, d_sae], b_enc, W_dec [d_sae, d_model], b_dec) as the format means them."""
    if format == "saelens":
        tensors = load_file(folder / "sae_weights.safetensors")
        assert set(tensors) == {"W_enc", "b_enc", "W_dec", "b_dec"}
        return tensors["W_enc"], tensors["b_enc"], tensors["W_dec"], tensors["b_dec"]
    if format == "sparsify":
        tensors = load_file(folder / "sae.safetensors")
        decoder = tensors["W_dec"]
    else:
        tensors = torch.load(folder / "ae.pt", weights_only=True)
        decoder = tensors["decoder.weight"].T
        assert tensors["k"] == K
    return tensors["encoder.weight"].T, tensors["encoder.bias"], decoder, tensors["b_dec"]


def test_what_a_killed_export_has_left_goes(project):
    folder, _ = export(project, "saelens")
    left = Path(mkdtemp(prefix=".sae_weights.safetensors.", dir=folder / "layer_4"))
    (left / "new.safetensors").write_bytes(b"half")
    export(project, "saelens")
    assert {path.name for path in (folder / "layer_4").iterdir()} == {
        "cfg.json",
        "sae_weights.safetensors",
    }


@pytest.mark.parametrize("format", FORMATS)
def test_every_layer_encodes_and_decodes_as_the_shared_sae_does_there(project, format):
    folder, index = export(project, format)
    sae = project[1]
    generator = torch.Generator().manual_seed(1)
    for layer, entry in zip(LAYERS, index["saes"], strict=True):
        place = folder.parents[2] / entry["folder"]
        assert place.is_relative_to(folder)
        W_enc, b_enc, W_dec, b_dec = read(place, format)
        x = sae.layer_mean[LAYERS.index(layer)] + torch.randn(50, D_MODEL, generator=generator)
        pre = torch.relu((x - b_dec) @ W_enc + b_enc)
        values, indices = pre.topk(K, dim=1)
        ours = sae.encode(x, layer)
        dense = torch.zeros(50, D_SAE).scatter(1, ours.indices, ours.values)
        active = torch.zeros(50, D_SAE).scatter(1, indices, values)
        assert torch.equal(active > 0, dense > 0)
        decoded = active @ W_dec + b_dec
        torch.testing.assert_close(decoded, sae.decode(ours, layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_the_index_and_the_configuration_say_where_an_sae_is_from(project, format):
    folder, index = export(project, format)
    assert index["model"] == "some/model"
    assert [entry["layer"] for entry in index["saes"]] == list(LAYERS)
    assert index["saes"][0] | {"folder": ""} == {
        "folder": "", "layer": 1, "cluster": "1+4", "starts_from": None, "layers": [1, 4],
        "variant": "base", "seed": 3,
    }  # fmt: skip
    place = folder.parents[2] / index["saes"][1]["folder"]
    config = json.loads(next(place.glob("*.json")).read_text())
    facts = {**config, **config.get("metadata", {}), **config.get("trainer", {})}
    assert facts["clustersae_cluster"] == "1+4"
    assert facts["clustersae_left_out"] == {"max_norm_multiple": 10}
    assert facts["k"] == K
    if format == "saelens":
        assert config["metadata"]["hook_name"] == "blocks.4.hook_resid_post"


@pytest.mark.parametrize(
    ("adds_bos", "bos_id", "rows", "n_ctx", "bos"),
    [
        (True, 0, None, 64, True),  # nobody knows how they were laid out: as the tokenizer does it
        (False, 0, None, 64, False),
        (True, 0, {"n_ctx": 16, "bos": "auto"}, 16, True),
        (False, 0, {"n_ctx": 16, "bos": "auto"}, 16, False),
        (False, 0, {"n_ctx": 16, "bos": "row"}, 16, True),
        (False, 0, {"n_ctx": 16, "bos": "document"}, 16, True),
        (True, 0, {"n_ctx": 16, "bos": "none"}, 16, False),
        # Trained here: rows are its context, and BOS is put there by whoever builds them.
        (False, 0, {}, 64, True),
        (False, 0, {"n_ctx": 64}, 64, True),
        (False, None, {}, 64, False),  # a named corpus has none
    ],
)
def test_peers_are_told_the_rows_of_training_not_the_longest_that_the_model_reads(
    project, adds_bos, bos_id, rows, n_ctx, bos
):
    description = project[0] / "model/description.json"
    write_json(description, {**MODEL.__dict__, "adds_bos": adds_bos, "bos_id": bos_id})
    place = export(project, "saelens", rows)[0] / "layer_1"
    told = json.loads((place / "cfg.json").read_text())["metadata"]
    assert (told["context_size"], told["prepend_bos"]) == (n_ctx, bos)
    place = export(project, "dictionary_learning", rows)[0] / "layer_1"
    assert json.loads((place / "config.json").read_text())["buffer"]["ctx_len"] == n_ctx


def test_an_unknown_format_is_refused(project):
    with pytest.raises(InputError, match="'gguf': use saelens"):
        export(project, "gguf")
