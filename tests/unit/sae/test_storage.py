"""SAEs on disk: what is read is what was written, and another SAE starts where it ended."""

import pytest
import torch
from sae_settings_of import topk_settings

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json
from clustersae.runtime.tensors import checksum, save_tensors, sealed
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.start import load_start
from clustersae.sae.storage import load_sae, read_config, save_sae
from clustersae.sae.training import Trainer

SETTINGS = topk_settings(12, 3, n_steps=40, batch_size=16, learning_rate=0.01, warmup_steps=2)


@pytest.fixture
def trainer():
    """An SAE of two layers after one step."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2, 6, generator=generator)
    sae = TopK((0, 3), 12, 3, mean, torch.tensor([0.5, 2.0]))
    sae.initialise(generator)
    trainer = Trainer(sae, SETTINGS)
    trainer.step(torch.randn(16, 6, generator=generator))
    return trainer


def test_an_sae_comes_back_with_all_that_is_known_of_it(trainer, tmp_path):
    save_sae(tmp_path, trainer.sae, SETTINGS, "base", "f" * 64)
    sae = load_sae(tmp_path, fingerprint="f" * 64)
    assert checksum(sae.state_dict()) == checksum(trainer.sae.state_dict())
    assert sae.layers == (0, 3)
    assert (sae.config["cluster"], sae.config["variant"]) == ("0+3", "base")
    assert (sae.config["first_step"], sae.config["n_steps"]) == (0, 40)
    assert not sae.W_dec.requires_grad


def test_a_specialised_sae_keeps_its_name_and_the_steps_before_it(trainer, tmp_path):
    save_sae(
        tmp_path, trainer.sae, SETTINGS, "tokens-1of2@base", "f" * 64, "0+3@0-4", first_step=25
    )
    config = read_json(tmp_path / "cfg.json")
    assert (config["cluster"], config["layers"]) == ("0+3@0-4", [0, 3])
    assert (config["variant"], config["first_step"]) == ("tokens-1of2@base", 25)


def test_a_start_is_what_was_saved(trainer, tmp_path):
    save_sae(tmp_path, trainer.sae, SETTINGS, "base", "f" * 64)
    start = load_start(tmp_path, "f" * 64)
    assert start.checksum == checksum(trainer.sae.state_dict())
    assert torch.equal(start.sae.W_enc, trainer.sae.W_enc)


def test_an_sae_without_room_is_told_with_its_remedy(trainer, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    save_sae(tmp_path, trainer.sae, SETTINGS, "base", "f" * 64)
    monkeypatch.setattr(TopK, "to", full)
    with pytest.raises(InputError, match=r"GiB beside what the job holds .* fewer layers"):
        load_sae(tmp_path)


def test_foreign_and_mixed_files_are_refused(trainer, tmp_path):
    for folder, fingerprint in (("a", "f" * 64), ("b", "e" * 64)):
        save_sae(tmp_path / folder, trainer.sae, SETTINGS, "base", fingerprint)
    for load in (load_start, lambda folder, fingerprint: load_sae(folder, "cpu", fingerprint)):
        with pytest.raises(InputError, match=r"b was trained on another model \(fingerprint eeee"):
            load(tmp_path / "b", "f" * 64)


def test_one_file_is_enough(trainer, tmp_path):
    save_sae(tmp_path, trainer.sae, SETTINGS, "base", "f" * 64)
    told = read_json(tmp_path / "cfg.json")
    (tmp_path / "cfg.json").unlink()
    assert load_sae(tmp_path).config == read_config(tmp_path) == told


def test_an_sae_of_an_earlier_version_has_its_settings_in_another_file(trainer, tmp_path):
    save_sae(tmp_path, trainer.sae, SETTINGS, "base", "f" * 64)
    path = tmp_path / "sae.safetensors"
    state = trainer.sae.state_dict()
    save_tensors(path, state, sealed(state, {"fingerprint": "f" * 64}))
    sae = load_sae(tmp_path)
    assert sae.config == read_json(tmp_path / "cfg.json")
    assert checksum(sae.state_dict()) == checksum(state)
    save_tensors(path, state, sealed(state, {"fingerprint": "e" * 64}))
    with pytest.raises(InputError, match=r"sae\.safetensors does not say what SAE it is"):
        load_sae(tmp_path)
    (tmp_path / "cfg.json").unlink()
    with pytest.raises(InputError, match=r"cfg\.json"):
        load_sae(tmp_path)


@pytest.mark.parametrize("place", [-1, -40, -300])
def test_a_flipped_bit_of_an_sae_is_named(trainer, tmp_path, place):
    save_sae(tmp_path, trainer.sae, SETTINGS, "base", "f" * 64)
    file = tmp_path / "sae.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"sae\.safetensors is damaged: its checksum does not"):
        load_sae(tmp_path)
