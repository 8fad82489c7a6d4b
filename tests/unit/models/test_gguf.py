"""GGUF files become Hugging Face directories with the same logits, or are refused by name."""

import copy
import json
import shutil
import sys

import gguf
import pytest
import torch
import transformers
from gguf_files import TOKENS, tiny_llama, write_gguf

from clustersae.models.description import read_description
from clustersae.models.gguf import convert, main
from clustersae.models.importing import import_model
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors

FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module")
def file(llama, tmp_path_factory):
    return write_gguf(llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def logits(model) -> torch.Tensor:
    tokens = torch.randint(len(TOKENS), (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(input_ids=tokens).logits


def loaded(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def test_the_directory_has_the_logits_of_the_model_that_was_written(llama, file, tmp_path):
    convert(file, tmp_path / "model")
    torch.testing.assert_close(logits(loaded(tmp_path / "model")), logits(llama))
    assert {path.name for path in (tmp_path / "model").iterdir()} >= FILES


def test_quantised_weights_are_those_that_the_reference_unpacks(llama, tmp_path):
    kind = gguf.GGMLQuantizationType.Q4_1
    file = write_gguf(llama, tmp_path / "tiny.Q4_1.gguf", kind)
    convert(file, tmp_path / "model")
    tensors = load_tensors(tmp_path / "model" / "model.safetensors")[0]
    original = llama.model.layers[1].mlp.up_proj.weight.detach().numpy()
    expected = torch.tensor(gguf.dequantize(gguf.quantize(original, kind), kind))
    found = tensors["model.layers.1.mlp.up_proj.weight"]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.equal(found, torch.tensor(original))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert "quantization_config" not in json.loads((tmp_path / "model/config.json").read_text())


def test_the_tokenizer_reads_as_the_file_says(file, tmp_path):
    convert(file, tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("a tub", add_special_tokens=False)["input_ids"]
    assert ids == [TOKENS.index(token) for token in ("a", "Ġt", "u", "b")]
    assert tokenizer.bos_token_id == 0


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_gguf_file_is_imported_by_itself_or_by_its_folder(llama, file, tmp_path, place):
    import_model(str(file if place == "file" else file.parent), tmp_path / "model")
    description = read_description(tmp_path / "model")
    assert (description.n_layers, description.d_model, description.n_ctx) == (3, 64, 48)
    assert (description.vocab_size, description.bos_id) == (len(TOKENS), 0)
    torch.testing.assert_close(logits(loaded(tmp_path / "model")), logits(llama))
    assert {path.name for path in file.parent.iterdir()} == {file.name}


def test_converting_twice_gives_the_same_bytes(file, tmp_path):
    for name in ("one", "two"):
        convert(file, tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_unknown_architecture_is_named_with_the_way_out(llama, tmp_path):
    file = write_gguf(llama, tmp_path / "odd.gguf", architecture="unheard-of")
    with pytest.raises(InputError, match=r"odd\.gguf: .*unheard-of .*Use a Hugging Face directory"):
        convert(file, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_files_that_are_no_gguf_or_cut_short_are_named(file, tmp_path):
    for name, content in {"text": b"hello", "cut": file.read_bytes()[:-5000]}.items():
        (tmp_path / f"{name}.gguf").write_bytes(content)
        with pytest.raises(InputError, match=rf"cannot read the GGUF file .*{name}\.gguf: \w+"):
            convert(tmp_path / f"{name}.gguf", tmp_path / "model")


def test_lacking_weights_are_named(llama, tmp_path):
    short = copy.deepcopy(llama)
    del short.model.layers[2]
    with pytest.raises(InputError, match=r"lacks weights .*model\.layers\.2"):
        convert(write_gguf(short, tmp_path / "short.gguf"), tmp_path / "model")


def test_a_piece_of_a_split_file_is_refused(file, tmp_path):
    piece = tmp_path / "big-00001-of-00003.gguf"
    shutil.copy(file, piece)
    with pytest.raises(InputError, match="llama-gguf-split --merge"):
        convert(piece, tmp_path / "model")


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "text.gguf").write_text("hello")
    monkeypatch.setattr(sys, "argv", ["gguf", str(tmp_path / "text.gguf"), str(tmp_path / "model")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert str(stopped.value).startswith("error: transformers cannot read the GGUF file")
    assert "\n" not in str(stopped.value)
