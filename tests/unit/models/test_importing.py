import math
from pathlib import Path

import pytest
import torch
import transformers
from hub_server import COMMIT, hub_with
from language_models import FAMILIES, STORIES, needs_stories, save_tiny_model, save_tiny_tokenizer
from tiny_tokenizers import WORDS, puts, save, word_level

from clustersae.corpora.packing import pack
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.models.description import read_description
from clustersae.models.importing import import_model
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json
from clustersae.runtime.tensors import load_tensors


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = (load_tensors(folder / "model.safetensors")[0] for folder in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_local_model_is_complete_afterwards(family, tmp_path):
    source = save_tiny_model(family, tmp_path / "source")
    import_model(str(source), tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "description.json",
    }  # fmt: skip
    assert same_weights(source, tmp_path / "model")
    description = read_description(tmp_path / "model")
    assert (description.source, description.revision) == (str(source), None)
    transformers.AutoTokenizer.from_pretrained(tmp_path / "model")


@needs_stories
def test_a_real_read_only_model_is_imported(tmp_path):
    mode = (STORIES / "model.safetensors").stat().st_mode
    import_model(str(STORIES), tmp_path / "model")
    assert same_weights(STORIES, tmp_path / "model")
    assert (STORIES / "model.safetensors").stat().st_mode == mode


def test_importing_twice_replaces_the_files(tmp_path):
    source = save_tiny_model("gpt2", tmp_path / "source")
    import_model(str(source), tmp_path / "model")
    first = read_description(tmp_path / "model")
    import_model(str(source), tmp_path / "model")
    assert read_description(tmp_path / "model") == first


def split(source: Path, folder: Path) -> Path:
    """A copy of the model with its weights in several files."""
    model = transformers.AutoModelForCausalLM.from_pretrained(source)
    model.save_pretrained(folder, max_shard_size="8KB")
    save_tiny_tokenizer(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def test_weights_in_several_files_are_merged(tmp_path):
    source = save_tiny_model("llama", tmp_path / "source")
    parts = split(source, tmp_path / "parts")
    import_model(str(parts), tmp_path / "model")
    assert same_weights(source, tmp_path / "model")


def test_a_missing_part_is_named(tmp_path):
    parts = split(save_tiny_model("llama", tmp_path / "source"), tmp_path / "parts")
    lost = max(parts.glob("model-*.safetensors"))
    lost.unlink()
    with pytest.raises(InputError, match=f"{lost.name} does not exist"):
        import_model(str(parts), tmp_path / "model")


def test_a_part_without_its_tensors_is_named(tmp_path):
    parts = split(save_tiny_model("llama", tmp_path / "source"), tmp_path / "parts")
    first, *_, last = sorted(parts.glob("model-*.safetensors"))
    last.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match=r"lack \d+ tensors that model\.safetensors\.index\.json"):
        import_model(str(parts), tmp_path / "model")


def test_pickled_weights_are_refused(tmp_path):
    source = save_tiny_model("gpt2", tmp_path / "source")
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pickle only.*save_pretrained"):
        import_model(str(source), tmp_path / "model")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    source = save_tiny_model("gpt2", tmp_path / "source")
    (source / name).unlink()
    with pytest.raises(InputError, match=rf"neither {name}|no {name}"):
        import_model(str(source), tmp_path / "model")


def test_an_encoder_decoder_is_refused(tmp_path):
    config = transformers.T5Config(vocab_size=50, d_model=16, num_layers=2, num_heads=2, d_ff=32)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "source")
    save_tiny_tokenizer(tmp_path / "source")
    with pytest.raises(InputError, match="encoder-decoder model"):
        import_model(str(tmp_path / "source"), tmp_path / "model")


def test_a_checkpoint_without_its_unembedding_is_refused(tmp_path):
    source = save_tiny_model("llama", tmp_path / "source")
    model = transformers.AutoModelForCausalLM.from_pretrained(source)
    weights = {n: w for n, w in model.state_dict().items() if n != "lm_head.weight"}
    model.save_pretrained(source, state_dict=weights)
    with pytest.raises(InputError, match=r"lacks weights .* lm_head\.weight"):
        import_model(str(source), tmp_path / "model")


def test_a_larger_tokenizer_is_refused_only_where_a_text_needs_it(tmp_path):
    source = save_tiny_model("gpt2", tmp_path / "source")
    save_tiny_tokenizer(source, n_words=60)
    import_model(str(source), tmp_path / "model")
    description = read_description(tmp_path / "model")
    assert (description.vocab_size, description.special_ids) == (50, (0, 1))
    with pytest.raises(InputError, match=r"token 'w55' \(55\), but .* embeds only 50: take it out"):
        pack(model_tokenizer(tmp_path / "model"), ["w1", "w2", "w3", "w55"], n_ctx=4)


TOKEN = {"content": "<s>", "lstrip": False, "rstrip": False, "normalized": False, "special": True}
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@pytest.mark.parametrize(
    ("config", "names", "template"),
    [
        (NAMES, None, None),
        (NAMES, None, "<s> $A"),
        (None, {**NAMES, "bos_token": TOKEN, "additional_special_tokens": ["mat"]}, None),
        ({"added_tokens_decoder": {"1": TOKEN}}, {**NAMES, "bos_token": TOKEN}, None),
        (None, None, "<s> $A </s>"),
        ({}, {"extra_special_tokens": {"image": "<image>"}}, None),
    ],
)
def test_special_tokens_are_found_wherever_they_are_written(tmp_path, config, names, template):
    words = ["<unk>", "<s>", "</s>", *WORDS]
    tokenizer = word_level(words, words[:3] if names is None else [], "<unk>")
    source = save_tiny_model("gpt2", tmp_path / "source")
    model = read_json(source / "config.json") | {"bos_token_id": 1, "eos_token_id": 2}
    save(source, puts(tokenizer, template) if template else tokenizer, config, model, names)
    if config is None:
        (source / "tokenizer_config.json").unlink()
    import_model(str(source), tmp_path / "model")
    description = read_description(tmp_path / "model")
    assert (description.bos_id, description.eos_id) == (1, 2)
    assert {1, 2} <= set(description.special_ids)
    assert set(description.special_ids) <= {0, 1, 2, 3 + WORDS.index("mat")}
    assert description.adds_bos == (template is not None)
    # And as transformers reads what was imported.
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    fitting = {number for number in theirs.all_special_ids if number < len(words)}
    assert fitting <= set(description.special_ids)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    source = save_tiny_model("gpt2", tmp_path / "source")
    with hub_with(source, tmp_path / "cache", monkeypatch) as there:
        yield there


def test_a_model_comes_from_the_hub_with_its_commit(hub, tmp_path):
    import_model("some/model", tmp_path / "model", on_hub=True, revision="main")
    assert same_weights(tmp_path / "source", tmp_path / "model")
    assert read_description(tmp_path / "model").revision == COMMIT
    assert read_description(tmp_path / "model").source == "some/model"


def test_pickles_code_and_second_copies_are_not_even_fetched(hub, tmp_path):
    hub.files["some/model"]["pytorch_model.bin"] = b"never"
    hub.files["some/model"]["modeling.py"] = b"raise RuntimeError"
    hub.files["some/model"]["consolidated.safetensors"] = b"the same once more"
    import_model("some/model", tmp_path / "model", on_hub=True)
    fetched = {name for name, _ in hub.sent}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "modeling.py", "consolidated.safetensors"}


def test_an_unknown_repository_is_named_with_the_ways_out(hub, tmp_path):
    with pytest.raises(InputError, match=r"no/such could not be fetched.*as path instead of repo"):
        import_model("no/such", tmp_path / "model", on_hub=True)


def test_without_a_network_the_cache_serves(hub, tmp_path, monkeypatch):
    import_model("some/model", tmp_path / "model", on_hub=True, revision="main")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    n_answers = len(hub.sent)
    import_model("some/model", tmp_path / "again", on_hub=True, revision="main")
    assert same_weights(tmp_path / "source", tmp_path / "again")
    assert len(hub.sent) == n_answers


def test_a_server_that_is_not_there_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"could not be fetched .* HF_HUB_OFFLINE=1"):
        import_model("some/model", tmp_path / "model", on_hub=True)


@pytest.fixture
def impatient(monkeypatch):
    """A downloader that keeps what arrived in small steps and does not wait between attempts."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)


def test_a_broken_connection_is_taken_up_where_it_broke(hub, tmp_path, impatient):
    hub.breaks = 1
    import_model("some/model", tmp_path / "model", on_hub=True)
    assert same_weights(tmp_path / "source", tmp_path / "model")
    pieces = [n for name, n in hub.sent if name == "model.safetensors"]
    assert pieces[0] == hub.break_at
    assert sum(pieces) == (tmp_path / "source/model.safetensors").stat().st_size


def test_an_interrupted_import_leaves_nothing_and_keeps_whole_files(hub, tmp_path, impatient):
    hub.breaks = math.inf
    with pytest.raises(InputError, match="files that arrived whole are kept"):
        import_model("some/model", tmp_path / "model", on_hub=True)
    assert not (tmp_path / "model").exists()
    hub.breaks = 0
    import_model("some/model", tmp_path / "model", on_hub=True)
    assert same_weights(tmp_path / "source", tmp_path / "model")
    assert [name for name, _ in hub.sent].count("tokenizer.json") == 1
