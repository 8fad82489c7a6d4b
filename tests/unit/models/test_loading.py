"""The model runs as its description says: number format, devices, attention."""

import dataclasses
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import accelerate
import pytest
import torch
import transformers
from language_models import FAMILIES, N_CTX, N_LAYERS, VOCAB_SIZE, save_tiny_model

from clustersae.models.anatomy import describe
from clustersae.models.description import read_description
from clustersae.models.importing import import_model
from clustersae.models.loading import load_model, load_pretrained
from clustersae.models.residual import ResidualStream
from clustersae.runtime import written
from clustersae.runtime.errors import InputError


@pytest.fixture(scope="module", params=FAMILIES)
def source(request, tmp_path_factory):
    return save_tiny_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(VOCAB_SIZE, (3, N_CTX), generator=torch.Generator().manual_seed(1))


def change_config(folder, **changes):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (config | changes).items() if v is not None}))


def opened(folder) -> ResidualStream:
    description = read_description(folder)
    return ResidualStream(load_model(folder, description), description)


def test_a_model_runs_in_the_format_that_was_asked_for(source, tokens, tmp_path):
    import_model(str(source), tmp_path / "narrow", dtype="bfloat16")
    import_model(str(source), tmp_path / "wide")
    narrow, wide = opened(tmp_path / "narrow"), opened(tmp_path / "wide")
    expected = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(narrow.logits(tokens), expected(input_ids=tokens).logits)
    for ours, theirs in zip(narrow.capture(tokens), wide.capture(tokens)):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), theirs, rtol=0.1, atol=0.1)
    described = [read_description(tmp_path / name) for name in ("narrow", "wide")]
    assert [each.dtype for each in described] == ["bfloat16", "float32"]
    assert described[0].fingerprint == described[1].fingerprint


def test_weights_are_hashed_once_and_others_in_their_place_are_refused(
    source, tmp_path, monkeypatch
):
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(written, "LARGE", 10_000)
    model = Path("results/model")
    import_model(str(source), model)
    weights, whole = model / "model.safetensors", (source / "model.safetensors").read_bytes()
    description = read_description(model)
    expected = [sha256((model / name).read_bytes()) for name in ("config.json", weights.name)]
    together = sha256(b"".join(each.digest() for each in expected))
    assert description.fingerprint == together.hexdigest()
    os.utime(weights, (1, 1))  # by Snakemake, as it is the job's output
    read, digest = [], written._sha256
    monkeypatch.setattr(
        written, "_sha256", lambda path, kind: read.append(path.name) or digest(path, kind)
    )
    for _ in range(3):
        written.check([weights])
        load_model(model, description)
    assert read.count(weights.name) == 1
    other = whole[:-1] + bytes([whole[-1] ^ 1])
    weights.write_bytes(other)
    os.utime(weights, (1, 1))
    for _ in range(2):
        with pytest.raises(InputError, match="not the one that its description"):
            load_model(model, description)
    # Of the same size and date; and again where nothing is known of what was written.
    Path("other").write_bytes(other)
    os.utime("other", (1, 1))
    for _ in range(2):
        weights.write_bytes(whole)
        load_model(model, description)
        os.replace(shutil.copy2("other", "results/other"), weights)
        with pytest.raises(InputError, match="not the one that its description"):
            load_model(model, description)
        shutil.rmtree(written.RECORDS, ignore_errors=True)


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_float32_replacements_are_rounded_to_the_models_format(source, tokens, tmp_path, layer):
    import_model(str(source), tmp_path / "model", dtype="bfloat16")
    stream = opened(tmp_path / "model")
    clean, streams = stream.logits_and_streams(tokens)
    with stream.replaced(dict.fromkeys(range(N_LAYERS), torch.Tensor.float)):
        assert torch.equal(stream.logits(tokens), clean)
    assert torch.equal(stream.logits_from(layer, streams[layer].float(), tokens), clean)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": None, "torch_dtype": "float16"}, "float16"),
        ({"dtype": None}, "float32"),
        ({"dtype": "float8_e4m3fn"}, "float32"),
    ],
)
def test_auto_is_the_format_of_the_configuration(tmp_path, given, meant):
    source = save_tiny_model("gpt2", tmp_path / "source")
    change_config(source, **given)
    import_model(str(source), tmp_path / "model", dtype="auto")
    assert read_description(tmp_path / "model").dtype == meant
    assert opened(tmp_path / "model").model.dtype == getattr(torch, meant)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("named", ["flash_attention_2", "flash_attention_3", "kernels-community/x"])
def test_an_attention_that_is_not_installed_is_replaced(tmp_path, tokens, key, named):
    source = save_tiny_model("llama", tmp_path / "source")
    expected = ResidualStream(load_pretrained(source), "model.layers").logits(tokens)
    change_config(source, **{key: named})
    import_model(str(source), tmp_path / "model")
    stream = opened(tmp_path / "model")
    assert stream.model.config._attn_implementation == "sdpa"
    assert torch.equal(stream.logits(tokens), expected)


def test_weights_of_another_shape_than_the_configuration_are_named(tmp_path):
    save_tiny_model("llama", tmp_path)
    change_config(tmp_path, vocab_size=VOCAB_SIZE + 1)
    said = r"holds lm_head\.weight of shape \[50, 16\], but its config\.json asks for \[51, 16\]"
    with pytest.raises(InputError, match=said):
        load_pretrained(tmp_path)


def test_an_attention_that_torch_brings_is_kept(tmp_path):
    source = save_tiny_model("llama", tmp_path / "source")
    change_config(source, attn_implementation="eager")
    assert load_pretrained(source).config._attn_implementation == "eager"


def test_a_job_without_a_gpu_does_not_spread_the_model(source, tmp_path):
    import_model(str(source), tmp_path / "model", device_map="auto")
    assert read_description(tmp_path / "model").device_map == "auto"
    assert not hasattr(opened(tmp_path / "model").model, "hf_device_map")


def test_a_job_with_a_gpu_leaves_the_places_to_transformers(source, monkeypatch):
    described = dataclasses.replace(describe(source, "here"), device_map="auto")
    asked = {}

    def from_pretrained(folder, **given):
        asked.update(given)
        raise OSError("no GPU here")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", from_pretrained)
    with pytest.raises(InputError, match="no GPU here"):
        load_model(source, described, "cuda:0")
    assert asked["device_map"] == "auto"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_without_room_is_told_with_its_remedies(source, monkeypatch, dtype):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(InputError, match=r"parameters in .* models\.NAME\.device_map") as told:
        load_pretrained(source, dtype=dtype)
    assert ("models.NAME.dtype: bfloat16" in str(told.value)) == (dtype == torch.float32)


def test_a_model_in_several_places_is_read_and_changed_like_one(source, tokens, tmp_path):
    """The middle block lies on the disk: accelerate fetches it by a forward of its own."""
    blocks = describe(source, "here").blocks
    whole = ResidualStream(load_pretrained(source), blocks)
    model = load_pretrained(source)
    middle = f"{blocks}.1"
    names = {name.rpartition(".")[0] for name in model.state_dict()}
    places = {name: "cpu" for name in names if not f"{name}.".startswith(f"{middle}.")}
    accelerate.dispatch_model(
        model, {**places, middle: "disk"}, main_device="cpu", offload_dir=tmp_path
    )
    spread = ResidualStream(model, blocks)
    assert next(spread.blocks[1].parameters()).is_meta
    forwards = [vars(block).get("forward") for block in spread.blocks]
    assert forwards[1] is not None
    for ours, theirs in zip(spread.capture(tokens), whole.capture(tokens), strict=True):
        torch.testing.assert_close(ours, theirs)
    for layer in range(N_LAYERS):
        x = torch.randn(3, N_CTX, 16, generator=torch.Generator().manual_seed(layer))
        expected = whole.logits_from(layer, x, tokens)
        torch.testing.assert_close(spread.logits_from(layer, x, tokens), expected)
        assert [vars(block).get("forward") for block in spread.blocks] == forwards


@pytest.mark.parametrize("trusted", [False, True])
def test_code_of_a_model_runs_only_where_it_is_trusted(tmp_path, monkeypatch, trusted):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "hf"))
    source = save_tiny_model("llama", tmp_path / "source")
    (source / "modeling_own.py").write_text(
        "import pathlib\nimport transformers\n\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n\n"
        "class LlamaForCausalLM(transformers.LlamaForCausalLM):\n    of_its_own = True\n"
    )
    change_config(source, auto_map={"AutoModelForCausalLM": "modeling_own.LlamaForCausalLM"})
    import_model(str(source), tmp_path / "model", trust_remote_code=trusted)
    assert (tmp_path / "ran").exists() == trusted
    assert (tmp_path / "model" / "modeling_own.py").exists() == trusted
    assert hasattr(opened(tmp_path / "model").model, "of_its_own") == trusted
