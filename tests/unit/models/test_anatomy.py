import gc
import json
import weakref

import pytest
import torch
import transformers
from language_models import (
    D_MODEL,
    FAMILIES,
    N_CTX,
    N_LAYERS,
    STORIES,
    VOCAB_SIZE,
    needs_stories,
    save_tiny_model,
    write_description,
)

from clustersae.models import loading, residual
from clustersae.models.anatomy import describe
from clustersae.models.description import fingerprint, read_description
from clustersae.runtime.errors import InputError

BLOCKS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "llama": "model.layers"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_of_each_family_are_found_and_verified(family, tmp_path):
    save_tiny_model(family, tmp_path)
    write_description(tmp_path, tmp_path / "description.json", source="here", revision="abc")
    description = read_description(tmp_path)
    assert description.blocks == BLOCKS[family]
    assert description.restartable
    assert (description.n_layers, description.d_model) == (N_LAYERS, D_MODEL)
    assert (description.n_ctx, description.vocab_size) == (N_CTX, VOCAB_SIZE)
    assert (description.bos_id, description.pad_id) == (0, None)
    assert (description.source, description.revision) == ("here", "abc")


@pytest.mark.parametrize("family", FAMILIES)
def test_one_copy_of_the_weights_is_in_memory_at_a_time(family, tmp_path, monkeypatch):
    save_tiny_model(family, tmp_path)
    load, copies = loading.load_pretrained, []

    def counted(*arguments):
        assert not any(weight() is not None for copy in copies for weight in copy)
        model = load(*arguments)
        copies.append([weakref.ref(weight) for weight in model.parameters()])
        return model

    monkeypatch.setattr(loading, "load_pretrained", counted)
    gc.disable()  # or what points at itself would be gone by chance
    try:
        describe(tmp_path, "here")
    finally:
        gc.enable()
    assert len(copies) == 2


@needs_stories
def test_a_real_model_is_described():
    description = describe(STORIES, "stories260k")
    assert (description.n_layers, description.d_model, description.n_ctx) == (5, 64, 512)
    assert (description.vocab_size, description.bos_id, description.pad_id) == (512, 1, None)


def test_reading_the_wrong_place_is_noticed(tmp_path, monkeypatch):
    save_tiny_model("gpt2", tmp_path)
    capture = residual.ResidualStream.capture

    def exchanged(self, tokens):
        first, second, third = capture(self, tokens)
        return [first, third, second]

    monkeypatch.setattr(residual.ResidualStream, "capture", exchanged)
    with pytest.raises(InputError, match=r"layer 1 differs .* blocks\.1\.hook_resid_post"):
        describe(tmp_path, "here")


def test_a_bidirectional_model_is_refused(tmp_path):
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="not causal"):
        describe(tmp_path, "here")


def test_a_model_that_transformer_lens_cannot_run_is_refused(tmp_path):
    config = transformers.OpenAIGPTConfig(
        vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=24
    )
    transformers.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    said = r"TransformerLens cannot read .* \(OpenAIGPTLMHeadModel\): [^.]*blocks"
    with pytest.raises(InputError, match=said):
        describe(tmp_path, "here")


def test_damaged_weights_are_refused(tmp_path):
    save_tiny_model("gpt2", tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.bias[3] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"NaN or infinite activations at layer 1"):
        describe(tmp_path, "here")


def test_the_fingerprint_depends_on_weights_and_config(tmp_path):
    save_tiny_model("gpt2", tmp_path)
    before = fingerprint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 1e-3}))
    assert fingerprint(tmp_path) != before
    (tmp_path / "config.json").write_text(json.dumps(config, indent=2))
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    middle = fingerprint(tmp_path)
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert fingerprint(tmp_path) != middle


def test_a_description_of_another_version_is_refused(tmp_path):
    (tmp_path / "description.json").write_text('{"layers": 3}')
    with pytest.raises(InputError, match=r"description\.json was written by another version"):
        read_description(tmp_path)
