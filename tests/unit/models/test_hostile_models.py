"""Models by somebody who means harm: no code of theirs runs, and what they claim takes no memory.

Every refusal is one line that names the file.
"""

import json
import struct

import gguf
import pytest
from gguf_files import tiny_llama, write_gguf
from hostile_files import DEEP, edited, hostile_tensors, little_memory
from language_models import save_tiny_model
from safetensors.torch import load_file, save_file

from clustersae.models.importing import INDEX, WEIGHTS, import_model
from clustersae.runtime.errors import InputError


@pytest.fixture
def source(tmp_path):
    return save_tiny_model("llama", tmp_path / "source")


@pytest.fixture
def mark(tmp_path):
    """What appears where code of a file has run."""
    return tmp_path / "mark"


def refusal(place, tmp_path) -> str:
    """What importing the model in `place` says: one line, within little memory."""
    with little_memory(), pytest.raises(InputError) as caught:
        import_model(str(place), tmp_path / "model")
    assert not (tmp_path / "model" / "description.json").exists()
    assert not (tmp_path / "mark").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", hostile_tensors("mark"))
@pytest.mark.parametrize("name", [WEIGHTS, "part.safetensors"])
def test_what_is_no_safetensors_file_is_refused_unread(source, tmp_path, mark, kind, name):
    (source / WEIGHTS).unlink()
    (source / name).write_bytes(hostile_tensors(mark)[kind])
    if name != WEIGHTS:
        (source / INDEX).write_text(json.dumps({"weight_map": {"weight": name}}))
    message = refusal(source, tmp_path)
    assert message.startswith(f"{source / name} is damaged or truncated")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
)
@pytest.mark.parametrize(
    "text",
    [DEEP, f'{{"model_type": {DEEP}}}', "9" * 10_000, f'{{"n": {"9" * 10_000}}}', "[]", "{", "\0"],
    ids=lambda text: text[:12],
)
def test_json_that_is_deep_or_long_or_of_another_kind_is_refused(source, tmp_path, name, text):
    (source / name).write_text(text)
    assert f"/{name} " in refusal(source, tmp_path)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"bos_token": {"text": "<s>"}}, 'bos_token is {"text": "<s>"}, but must be a text'),
        ({"eos_token": 3}, "eos_token is 3, but must be a text"),
        ({"additional_special_tokens": ["<a>", [1]]}, "additional_special_tokens is [1], but must"),
    ],
)
def test_a_special_token_that_is_no_text_is_named(source, tmp_path, content, key):
    (source / "special_tokens_map.json").write_text(json.dumps(content))
    said = refusal(source, tmp_path)
    assert said.startswith(f"{source}/special_tokens_map.json: {key}")
    assert said.endswith("Correct it, or fetch the model again.")


def test_what_a_model_says_of_text_is_a_section(source, tmp_path):
    facts = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**facts, "text_config": "x"}))
    assert 'config.json: text_config is "x", but must be a section' in refusal(source, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", INDEX])
def test_a_terabyte_of_json_is_not_read(source, tmp_path, name):
    if name == INDEX:
        (source / WEIGHTS).unlink()
    with open(source / name, "wb") as file:
        file.truncate(1 << 40)
    assert f"/{name} is no " in refusal(source, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": "many"},
        {"hidden_size": 10**6},
        {"hidden_size": 10**18},
        {"vocab_size": 10**10},
        {"intermediate_size": 10**10},
        {"num_attention_heads": 0},
        {"num_attention_heads": 10**9, "head_dim": 10**9},
        {"dtype": "os.system"},
        {"rope_scaling": {"rope_type": "no such"}},
    ],
    ids=str,
)
def test_a_model_larger_than_its_file_or_impossible_is_refused(source, tmp_path, changes):
    edited(source / "config.json", **changes)
    assert "/config.json" in refusal(source, tmp_path)


@pytest.mark.parametrize("where", ["../outside.safetensors", "absolute", "inside/x.safetensors"])
def test_weights_outside_the_folder_are_not_read(source, tmp_path, where):
    save_file(load_file(source / WEIGHTS), tmp_path / "outside.safetensors")
    (source / WEIGHTS).unlink()
    name = str(tmp_path / "outside.safetensors") if where == "absolute" else where
    (source / INDEX).write_text(json.dumps({"weight_map": {"weight": name}}))
    assert refusal(source, tmp_path).startswith(f"{source / INDEX} does not say in which")


@pytest.mark.parametrize("content", [{}, {"weight_map": ["a"]}, {"weight_map": {"a": 1}}], ids=str)
def test_an_index_that_is_none_is_refused(source, tmp_path, content):
    (source / WEIGHTS).unlink()
    (source / INDEX).write_text(json.dumps(content))
    assert refusal(source, tmp_path).startswith(f"{source / INDEX} does not say in which")


def with_code(source, mark, file: str, entry: dict) -> None:
    """Python files that leave a mark when imported, and a JSON file that asks for them."""
    code = f"import os\nos.mkdir({str(mark)!r})\n"
    for name in ("modeling_evil", "configuration_evil", "tokenization_evil"):
        (source / f"{name}.py").write_text(code)
    edited(source / file, **entry)


CODE = {"AutoConfig": "configuration_evil.EvilConfig", "AutoModelForCausalLM": "modeling_evil.Evil"}


def test_a_model_that_is_code_of_its_own_is_refused(source, tmp_path, mark):
    with_code(source, mark, "config.json", {"model_type": "evil", "auto_map": CODE})
    assert "write models.NAME.trust_remote_code: true" in refusal(source, tmp_path)


def test_a_tokenizer_that_is_code_of_its_own_is_refused(source, tmp_path, mark):
    entry = {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_evil.EvilTokenizer", None]},
    }
    with_code(source, mark, "tokenizer_config.json", entry)
    assert "tokenizer" in refusal(source, tmp_path)


def test_code_beside_a_model_that_needs_none_is_left_behind(source, tmp_path, mark):
    with_code(source, mark, "config.json", {"auto_map": CODE})
    import_model(str(source), tmp_path / "model")
    assert not mark.exists()
    assert not list((tmp_path / "model").glob("*.py"))


# -- GGUF


@pytest.fixture(scope="module")
def good():
    return tiny_llama()


@pytest.fixture
def file(good, tmp_path):
    return write_gguf(good, tmp_path / "tiny.gguf")


def value_of(content: bytes, key: str) -> int:
    """Where the value of a key begins, after its name and type."""
    return content.index(key.encode()) + len(key) + 4


def written(content: bytes, place: int, kind: str, value: int) -> bytes:
    new = struct.pack(f"<{kind}", value)
    return content[:place] + new + content[place + len(new) :]


LIES = {
    "tensors": lambda c: written(c, 8, "Q", 1 << 60),
    "entries": lambda c: written(c, 16, "Q", 1 << 60),
    "length of a key": lambda c: written(c, 24, "Q", 1 << 60),
    "length of a list of texts": lambda c: written(
        c, value_of(c, "tokenizer.ggml.tokens") + 4, "Q", 1 << 60
    ),
    "length of a list of numbers": lambda c: written(
        c, value_of(c, "tokenizer.ggml.token_type") + 4, "Q", 1 << 60
    ),
    "rank": lambda c: written(c, value_of(c, "output_norm.weight") - 4, "I", 1 << 31),
    "shape": lambda c: written(c, value_of(c, "output_norm.weight"), "Q", 1 << 40),
    "place": lambda c: written(c, value_of(c, "output_norm.weight") + 12, "Q", 1 << 50),
    "layers": lambda c: written(c, value_of(c, "llama.block_count"), "I", 1 << 30),
    "width": lambda c: written(c, value_of(c, "llama.embedding_length"), "I", 1 << 30),
    "width of MLPs": lambda c: written(c, value_of(c, "llama.feed_forward_length"), "I", 1 << 30),
    "heads": lambda c: written(c, value_of(c, "llama.attention.head_count"), "I", 0),
    "kind of a list": lambda c: written(c, value_of(c, "tokenizer.ggml.tokens"), "I", 9),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_gguf_file_that_lies_about_a_size_is_refused(file, tmp_path, lie):
    content = LIES[lie](file.read_bytes())
    assert content != file.read_bytes()
    file.write_bytes(content)
    assert str(file) in refusal(file, tmp_path)


def test_a_gguf_header_of_millions_of_numbers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("clustersae.models.size.MOST_VALUES", 1000)
    writer = gguf.GGUFWriter(tmp_path / "many.gguf", "llama")
    writer.add_array("many", [1] * 2000)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert "more than 1000 values" in refusal(tmp_path / "many.gguf", tmp_path)


def test_what_lies_beside_a_gguf_file_is_not_read(file, tmp_path, mark):
    entry = {"auto_map": {"AutoTokenizer": ["tokenization_evil.EvilTokenizer", None]}}
    for name in ("config.json", "tokenizer_config.json", "adapter_config.json"):
        (file.parent / name).write_text("{}")
        with_code(file.parent, mark, name, {**entry, "peft_type": "LORA"})
    import_model(str(file), tmp_path / "model")
    assert not mark.exists()


def test_a_pickle_named_gguf_is_refused(tmp_path, mark):
    (tmp_path / "model.gguf").write_bytes(hostile_tensors(mark)["pickle"])
    assert "model.gguf" in refusal(tmp_path / "model.gguf", tmp_path)
