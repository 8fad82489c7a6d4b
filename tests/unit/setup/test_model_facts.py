"""Models and texts are described by what their files say; no weights are read."""

import json
from pathlib import Path

import pytest
import transformers
from gguf_files import TOKENS, tiny_llama, write_gguf
from hub_server import hub_with
from language_models import D_MODEL, N_CTX, N_LAYERS, VOCAB_SIZE, save_tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers

from clustersae.runtime.errors import InputError
from clustersae.setup import sample
from clustersae.setup.facts import ModelFacts, look_at_model
from clustersae.setup.sample import look_at_text


def write_config(folder: Path, **facts) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(facts))
    return str(folder)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_a_model_is_described_without_its_weights(family, tmp_path):
    folder = save_tiny_model(family, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    model = look_at_model(str(folder))
    assert (model.key, model.place) == ("path", str(folder))
    assert (model.n_layers, model.d_model) == (N_LAYERS, D_MODEL)
    assert (model.vocab_size, model.n_ctx, model.dtype) == (VOCAB_SIZE, N_CTX, "float32")
    assert model.tokenizer == folder / "tokenizer.json"


def test_the_text_part_of_a_model_of_several_kinds_counts(tmp_path):
    text = {"num_hidden_layers": 7, "hidden_size": 40, "dtype": "bfloat16"}
    model = look_at_model(
        write_config(tmp_path / "m", vocab_size=9, hidden_size=99, text_config=text)
    )
    assert (model.n_layers, model.d_model, model.dtype) == (7, 40, "bfloat16")
    assert (model.vocab_size, model.n_ctx, model.tokenizer) == (9, None, None)


def test_a_model_that_is_none_of_language_alone_is_refused(tmp_path):
    transformers.LlavaConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"LlavaConfig'>.*AutoModelForCausalLM\.\) Use") as error:
        look_at_model(str(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_a_kind_of_model_that_transformers_does_not_know_is_refused_unless_it_brings_code(tmp_path):
    shape = {"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 9, "model_type": "new-net"}
    with pytest.raises(InputError, match=r"cannot read .*m/config\.json: .*`new-net`"):
        look_at_model(write_config(tmp_path / "m", **shape))
    own = {"AutoConfig": "net.Config", "AutoModelForCausalLM": "net.Net"}
    assert look_at_model(write_config(tmp_path / "n", auto_map=own, **shape)).n_layers == 2


@pytest.mark.parametrize(
    ("facts", "n_ctx"),
    [
        ({"n_layers": 2, "d_model": 8, "max_seq_len": 64}, 64),  # as of MPT
        ({"num_hidden_layers": 2, "hidden_size": 8, "context_length": 64}, 64),  # as of RWKV
    ],
)
def test_layers_and_context_are_found_by_the_names_of_rarer_families(tmp_path, facts, n_ctx):
    model = look_at_model(write_config(tmp_path / "m", vocab_size=9, **facts))
    assert (model.n_layers, model.d_model, model.n_ctx) == (2, 8, n_ctx)


def test_the_head_of_a_gguf_file_is_enough(tmp_path):
    file = write_gguf(tiny_llama(), tmp_path / "tiny.gguf")
    model = look_at_model(str(file))
    assert (model.n_layers, model.d_model, model.n_ctx) == (3, 64, 48)
    assert model.vocab_size == len(TOKENS)


def test_of_a_repository_two_small_files_are_fetched(tmp_path, monkeypatch):
    source = save_tiny_model("gpt2", tmp_path / "source")
    with hub_with(source, tmp_path / "cache", monkeypatch) as hub:
        model = look_at_model("some/model")
        assert {name for name, _ in hub.sent if name} == {"config.json", "tokenizer.json"}
    assert (model.key, model.place, model.n_layers) == ("repo", "some/model", N_LAYERS)
    assert model.tokenizer is not None


def wrong_models(folder: Path) -> dict[str, tuple[str, str]]:
    (folder / "empty").mkdir()
    (folder / "some.txt").write_text("text")
    (folder / "bad.gguf").write_bytes(b"GGUF" + bytes(60))
    t5 = write_config(folder / "t5", is_encoder_decoder=True, num_layers=2, d_model=3)
    (folder / "list").mkdir()
    (folder / "list" / "config.json").write_text("[]")
    shape = {"num_hidden_layers": 3, "hidden_size": 8, "vocab_size": 9}

    def with_(name, **facts):
        return write_config(folder / name, **{**shape, **facts})

    return {
        "list": (str(folder / "list"), r"list/config\.json holds no JSON object \(\{\.\.\.\}\)"),
        "text part": (with_("x", text_config="x"), 'text_config is "x", but must be a section'),
        "negative": (with_("n", num_hidden_layers=-3), "num_hidden_layers is -3, but must be at"),
        "endless": (with_("e", num_hidden_layers=2 * 10**9), "but must be at most 1000"),
        "flat": (with_("f", hidden_size=0), "hidden_size is 0, but must be at least 1"),
        "mute": (with_("v", vocab_size=0), "vocab_size is 0, but must be at least 1"),
        "nothing": ("no-such-model", "no such directory or GGUF file, and a repository of the"),
        "empty": (str(folder / "empty"), "has no config.json"),
        "text": (str(folder / "some.txt"), "is a file, but no GGUF file"),
        "gguf": (str(folder / "bad.gguf"), "is not a complete GGUF file"),
        "encoder": (t5, "is of an encoder-decoder model"),
        "unknown": (write_config(folder / "other", layers=3), "has none of num_hidden_layers"),
    }


KINDS = ("nothing", "empty", "text", "gguf", "encoder", "unknown", "list", "text part")


@pytest.mark.parametrize("kind", [*KINDS, "negative", "endless", "flat", "mute"])
def test_what_is_no_language_model_is_named(kind, tmp_path):
    place, message = wrong_models(tmp_path)[kind]
    with pytest.raises(InputError, match=message) as error:
        look_at_model(place)
    assert place in str(error.value)


def test_a_hub_that_cannot_be_reached_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match=r"^--model some/model is no folder here, and config\.json"
    ):
        look_at_model("some/model")


@pytest.fixture
def model(tmp_path) -> ModelFacts:
    return look_at_model(str(save_tiny_model("gpt2", tmp_path / "model")))


@pytest.fixture
def words(model) -> ModelFacts:
    """A model whose tokens are words."""
    tokenizer = Tokenizer(models.WordLevel({"w3": 0}, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(model.tokenizer))
    return model


def test_tokens_are_those_of_the_models_own_tokenizer(words, tmp_path):
    (tmp_path / "text.txt").write_text(" ".join(["w3"] * 1000))
    text = look_at_text([str(tmp_path / "text.txt")], words)
    assert (text.n_bytes, text.n_tokens, text.measured) == (2999, 1000, True)
    blind = ModelFacts("path", "m", 2, 8, 50, None, "float32")
    text = look_at_text([str(tmp_path / "text.txt")], blind)
    assert (text.n_tokens, text.measured) == (750, False)


def test_tokens_are_counted_beyond_what_the_tokenizer_would_cut(words, tmp_path):
    tokenizer = Tokenizer.from_file(str(words.tokenizer))
    tokenizer.enable_truncation(max_length=7)
    tokenizer.enable_padding(length=5000)
    tokenizer.save(str(words.tokenizer))
    (tmp_path / "text.txt").write_text(" ".join(["w3"] * 1000))
    assert look_at_text([str(tmp_path / "text.txt")], words).n_tokens == 1000


def test_what_is_no_tokenizer_is_named(model, tmp_path):
    model.tokenizer.write_text("{}")
    (tmp_path / "text.txt").write_text("w3")
    with pytest.raises(InputError, match=r"model/tokenizer\.json is no tokenizer that this"):
        look_at_text([str(tmp_path / "text.txt")], model)


def test_the_separator_that_a_text_has_is_found(model, tmp_path):
    (tmp_path / "a.txt").write_text("One.</s>Two.<|endoftext|>Three.<|endoftext|>")
    (tmp_path / "b.txt").write_text("Four.")
    both = [str(tmp_path / name) for name in ("b.txt", "a.txt")]
    text = look_at_text(both, model)
    assert text.corpus == {"source": "text", "files": both, "separator": "<|endoftext|>"}
    assert look_at_text(both[:1], model).corpus["separator"] is None


def test_json_lines_are_counted_without_what_is_no_text(model, tmp_path):
    file = tmp_path / "lines.jsonl"
    line = json.dumps({"id": "x" * 100, "story": "y" * 300}) + "\n"
    file.write_text(line * 5000)  # more than is looked at
    text = look_at_text([str(file)], model)
    assert text.corpus == {"source": "jsonl", "files": [str(file)], "field": "story"}
    assert text.n_bytes == pytest.approx(5000 * 300, rel=0.01)
    with pytest.raises(InputError, match="no text under 'body'"):
        look_at_text([str(file)], model, field="body")


@pytest.mark.parametrize("name", ["lines.json", "lines.ndjson"])
def test_json_lines_are_known_by_any_name_and_with_a_byte_order_mark(model, tmp_path, name):
    file = tmp_path / name
    line = json.dumps({"id": "x", "story": "y" * 300}) + "\n"
    file.write_text("\n" + line * 100, encoding="utf-8-sig")
    corpus = look_at_text([str(file)], model).corpus
    assert corpus == {"source": "jsonl", "files": [str(file)], "field": "story"}


def test_a_dataset_in_a_folder_is_read_by_its_field(model, tmp_path):
    import datasets

    rows = datasets.Dataset.from_dict({"story": ["y" * 300] * 100})
    rows.save_to_disk(str(tmp_path / "set"))
    with pytest.raises(InputError, match="has no text in column 'text'"):
        look_at_text([str(tmp_path / "set")], model)
    text = look_at_text([str(tmp_path / "set")], model, field="story")
    assert text.corpus["dataset"] == str(tmp_path / "set")
    assert text.n_bytes is not None
    assert text.n_bytes >= 30_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("n_characters", [1000, 1 << 20])
def test_tokens_are_counted_in_any_encoding(words, tmp_path, monkeypatch, encoding, n_characters):
    monkeypatch.setattr(sample, "SAMPLE_CHARACTERS", n_characters)
    (tmp_path / "text.txt").write_text("w3 " * 50_000, encoding=encoding)
    text = look_at_text([str(tmp_path / "text.txt")], words)
    assert text.n_tokens == pytest.approx(50_000, rel=0.01)


@pytest.mark.parametrize("n_characters", [1000, 1 << 20])
def test_other_columns_of_a_dataset_are_no_text(words, tmp_path, monkeypatch, n_characters):
    monkeypatch.setattr(sample, "SAMPLE_CHARACTERS", n_characters)
    (tmp_path / "set").mkdir()
    line = json.dumps({"url": "x" * 900, "text": "w3 " * 100, "n": [1, 2]}) + "\n"
    (tmp_path / "set" / "rows.jsonl").write_text(line * 300)
    text = look_at_text([str(tmp_path / "set")], words)
    assert text.n_tokens == pytest.approx(30_000, rel=0.05)


def test_a_folder_of_text_files_is_read_file_by_file(model, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    contents = {"b.txt": "One.", "a.txt": "Two.\nThree.", "c.txt": "", "README.md": "Four."}
    for name, content in contents.items():
        (folder / name).write_text(content)
    files = [str(folder / name) for name in ("a.txt", "b.txt")]
    corpus = look_at_text([str(folder)], model).corpus
    assert corpus == {"source": "text", "files": files, "separator": None}


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["no.txt"], "--text no.txt: there is no such file"),
        (["model", "no.txt"], "--text: no.txt does not exist"),
        (["model", "model"], "--text: one of them is a folder"),
        (["x" * 5000], "there is no such file"),
        (["~nobody-of-this-name/a.txt"], "there is no such file"),
        (["empty.txt"], "empty.txt is empty"),
        (["deep.jsonl"], r"deep.jsonl, line 1: not valid JSON \(too deeply nested\)"),
        (["latin.txt", "deep.jsonl"], "--text: deep.jsonl is JSON Lines, others are not"),
        (["list.json"], "--text list.json is no running text: put it into a folder of its own"),
        (["a.txt", "rows.CSV"], "--text rows.CSV is no running text: put it into a folder of its"),
        (["rows.parquet"], "rows.parquet is no text but a Parquet file: unpack or convert it"),
        (["latin.txt"], r"latin.txt is not UTF-8 text \(byte 1"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(model, tmp_path, monkeypatch, places, message):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    Path("deep.jsonl").write_text("[" * 100_000)
    Path("latin.txt").write_bytes("Müller".encode("latin1"))
    Path("list.json").write_text('[\n{"text": "one"}]')
    Path("a.txt").write_text("one")
    Path("rows.CSV").write_text("text\none")
    Path("rows.parquet").write_bytes(b"PAR1" + bytes(range(256)))
    with pytest.raises(InputError, match=message):
        look_at_text(places, model)


def test_looking_reads_no_more_than_a_sample(model, tmp_path, monkeypatch):
    (tmp_path / "long.txt").write_text("abcdefg\n" * (1 << 20))
    read = []
    monkeypatch.setattr("clustersae.setup.sample.text_pieces", lambda path: _watched(path, read))
    text = look_at_text([str(tmp_path / "long.txt")], model)
    assert sum(read) < 1 << 22
    assert text.n_bytes == 1 << 23


def _watched(path, read):
    from clustersae.corpora.text import text_pieces

    for piece in text_pieces(path):
        read.append(len(piece))
        yield piece
