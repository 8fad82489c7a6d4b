"""What goes to the Hub: nothing unless asked, then a folder with a card that tells the truth."""

import json
from tempfile import mkdtemp

import pytest
import torch
from hub_server import Hub
from huggingface_hub import ModelCard
from loopback import serving
from published_saes import published
from sae_settings_of import topk_settings

import clustersae
from clustersae.exports import hub
from clustersae.exports.card import public_name, public_text
from clustersae.models.description import ModelDescription
from clustersae.runtime.errors import InputError
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import load_sae, save_sae

REPO, TOKEN = "somebody/saes", "hf_" + "x" * 30
MODEL = ModelDescription(
    n_layers=6, d_model=12, n_ctx=64, vocab_size=100, bos_id=0, pad_id=None, eos_id=None,
    special_ids=(0,), adds_bos=True, blocks="h", restartable=True, fingerprint="f" * 64,
    source="/home/somebody/secret/little-gpt",
)  # fmt: skip


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def shared_sae(folder, name):
    """An SAE of layers 1 and 4, or one of layer 4 that started from it."""
    layers = (4,) if "@" in name else (1, 4)
    sae = TopK(layers, 40, 5, torch.randn(len(layers), 12), torch.ones(len(layers)))
    sae.initialise(torch.Generator().manual_seed(0))
    settings = topk_settings(40, 5, n_steps=10, batch_size=128, seed=3)
    data = {"left_out": {"special_ids": [0], "first_without_bos": True, "max_norm_multiple": 10}}
    save_sae(folder, sae, settings, "base", MODEL.fingerprint, name, data=data)
    return load_sae(folder)


@pytest.fixture
def uploadable(tmp_path):
    """The folder that is made for two layers, and their SAEs."""
    places = {name: tmp_path / "saes" / name for name in ("1+4", "4@1+4")}
    one, other = (shared_sae(place, name) for name, place in places.items())
    saes, sources = {1: one, 4: other}, {1: places["1+4"], 4: places["4@1+4"]}
    folder = tmp_path / "hub" / REPO
    hub.write_folder(folder, published(REPO, MODEL, saes, ["saelens", "sparsify"]), sources)
    return folder, saes


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_has_the_saes_as_they_are_and_for_other_tools(uploadable):
    folder, saes = uploadable
    for entry in json.loads((folder / "index.json").read_text())["saes"]:
        layer = entry["layer"]
        loaded = clustersae.load(folder / entry["clustersae"])
        x = torch.randn(7, 12)
        assert torch.equal(loaded.reconstruct(x, layer), saes[layer].reconstruct(x, layer))
        assert (folder / entry["saelens"] / "sae_weights.safetensors").is_file()
        assert (folder / entry["sparsify"] / "sae.safetensors").is_file()
        assert entry["starts_from"] == (None if layer == 1 else "1+4")


def test_no_path_of_this_machine_is_told(uploadable):
    folder, _ = uploadable
    told = contents(folder)
    assert not any(b"secret" in content or b"data/text" in content for content in told.values())
    assert b"little-gpt" in told["README.md"]
    assert b"stories.txt" in told["README.md"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("dataset /home/alice/secret-project/data train", "dataset data train"),
        ("dataset /home/alice/secret project/my data sub train", "dataset my data sub train"),
        ("dataset secret project/data train", "dataset data train"),
        ("dataset ../secret/data train", "dataset data train"),
        ("dataset a/secret/data train refs/pr/1", "dataset 1"),
        ("dataset wikitext train", "dataset wikitext train"),
        ("dataset some/stories sub train 9bb295", "dataset some/stories sub train 9bb295"),
        ("dataset some/stories train refs/pr/1", "dataset some/stories train refs/pr/1"),
        ("/home/alice/one.txt, secret/two.txt", "one.txt, two.txt"),
        ("/home/alice/model", "model"),
    ],
)
def test_of_a_text_only_what_lies_on_the_hub_has_its_whole_name(source, told):
    assert public_text(source) == told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("/home/alice/model", "model"),
        ("model", "model"),
        ("results/language_models/toy/model", "toy"),
        ("/home/alice/work/results/little/model", "little"),
        ("/home/alice/results/model", "model"),
        ("/home/alice/little.gguf", "little.gguf"),
    ],
)
def test_a_model_here_is_told_by_its_folder_alone(source, told):
    assert public_name(source) == told


def test_the_card_has_quality_ancestry_and_what_was_left_out(uploadable):
    card = ModelCard.load(uploadable[0] / "README.md")
    assert card.data.library_name == "saelens"
    assert "sparse-autoencoder" in card.data.tags
    assert card.data.base_model is None  # it is on no hub
    assert "| 1 | 1+4 | – | 1,280 | 1.1250 | 5.0 | 25 % | +0.0300 | 90 % |" in card.text
    assert "| 4 | 4 | 1+4 | 1,280 | 4.1250 | 5.0 | 25 % | +0.0300 | 90 % |" in card.text
    assert "FVU is +25 % beside full per-layer SAEs (95 % interval +20 % to +31 %" in card.text
    assert "cross-entropy is 2.7500 instead of 2.5000 nats" in card.text
    assert "more than 10 times a layer's median norm" in card.text
    assert 'SAE.from_pretrained("somebody/saes", "saelens/layer_1")' in card.text


def test_a_model_of_the_hub_is_named_with_its_commit(uploadable, tmp_path):
    _, saes = uploadable
    of_hub = MODEL.__class__(**{**MODEL.__dict__, "source": "org/gpt", "revision": "c0ffee"})
    found = hub.model_card(published(REPO, of_hub, saes, []))
    assert found.data.base_model == "org/gpt"
    assert "org/gpt, commit `c0ffee`" in found.text


def test_a_folder_of_before_is_replaced(uploadable, tmp_path):
    folder, saes = uploadable
    places = {1: tmp_path / "saes/1+4"}
    mkdtemp(prefix=".saes.", dir=folder.parent)  # of a process that was killed
    hub.write_folder(folder, published(REPO, MODEL, {1: saes[1]}, []), places)
    assert set(contents(folder)) == {
        *("README.md", "index.json"),
        *("clustersae/base/1+4/cfg.json", "clustersae/base/1+4/sae.safetensors"),
    }
    with pytest.raises(InputError, match="no format 'gguf'"):
        hub.write_folder(folder, published(REPO, MODEL, {1: saes[1]}, ["gguf"]), places)
    assert len(contents(folder)) == 4
    assert [path.name for path in folder.parent.iterdir()] == ["saes"]


def test_what_is_for_people_may_be_absent_and_is_made_again(uploadable, tmp_path):
    folder, saes = uploadable
    own = tmp_path / "saes/1+4/cfg.json"
    before = own.read_bytes()
    own.unlink()
    hub.write_folder(folder, published(REPO, MODEL, {1: saes[1]}, []), {1: own.parent})
    assert (folder / "clustersae/base/1+4/cfg.json").read_bytes() == before


@pytest.mark.parametrize("private", [True, False])
def test_an_upload_puts_that_folder_there(uploadable, monkeypatch, private):
    folder, _ = uploadable
    there = Hub(TOKEN)
    with serving(there.respond) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        hub.upload(folder, REPO, private)
    assert there.files[REPO] == contents(folder)
    assert there.visibility[REPO] == ("private" if private else "public")


def test_a_wrong_token_is_refused_with_what_to_do(uploadable, monkeypatch):
    folder, _ = uploadable
    with serving(Hub("another").respond) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        with pytest.raises(InputError, match=r"somebody/saes could not .*401.* Set HF_TOKEN"):
            hub.upload(folder, REPO, private=False)


@pytest.mark.parametrize(
    ("repo", "says"), [("saes", "write owner/saes"), ("a b/saes", "no repository of the Hub")]
)
def test_what_is_no_repository_is_refused(repo, says):
    with pytest.raises(InputError, match=says):
        hub.check_repository(repo)
