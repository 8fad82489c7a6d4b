"""Data by somebody who means harm is refused in one line that names it, within little memory."""

import json

import pytest
import torch
from hostile_files import DEEP, hostile_tensors, little_memory, pickled, with_metadata
from sae_settings_of import topk_settings
from synthetic_shards import write_split

from clustersae.activations.shards import open_shard
from clustersae.circuits.tasks.prompts import read_prompts
from clustersae.corpora.text import dataset_documents, jsonl_documents, text_documents
from clustersae.corpora.tokens import read_tokens
from clustersae.experiment.clusters import layers_of
from clustersae.experiment.plan import read_plan
from clustersae.experiment.shape import model_shape
from clustersae.runtime.errors import InputError
from clustersae.runtime.tensors import load_tensors, save_tensors, sealed
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import load_sae, read_config, save_sae


def refusal(read, *arguments) -> str:
    with little_memory(), pytest.raises(InputError) as caught:
        read(*arguments)
    return str(caught.value)


@pytest.fixture
def sae(tmp_path):
    """The folder of an SAE of two layers."""
    save_sae(
        tmp_path / "sae",
        TopK((0, 3), 12, 3, torch.zeros(2, 6), torch.ones(2)),
        *(topk_settings(12, 3), "base", "f" * 64),
    )
    return tmp_path / "sae"


def claiming(sae, **changes) -> None:
    """Change what an SAE's file says of it, as somebody would who knows how it is sealed."""
    tensors, _ = load_tensors(sae / "sae.safetensors")
    told = {"config": json.dumps({**read_config(sae), **changes})}
    save_tensors(sae / "sae.safetensors", tensors, sealed(tensors, told))


@pytest.mark.parametrize("kind", hostile_tensors("mark"))
def test_what_is_no_safetensors_file_is_refused_unread(tmp_path, sae, kind):
    mark = tmp_path / "mark"
    path = tmp_path / "shard.safetensors"
    for place in (path, sae / "sae.safetensors"):
        place.write_bytes(hostile_tensors(mark)[kind])
    for read in (open_shard, read_tokens):
        assert refusal(read, path).startswith(f"{path} is damaged or truncated")
    assert refusal(load_sae, sae).startswith(f"{sae / 'sae.safetensors'} is damaged or truncated")
    assert not mark.exists()


@pytest.mark.parametrize(
    "text", [DEEP, "9" * 10_000, "x", "[7]"], ids=["deep", "long", "none", "absent"]
)
def test_a_shard_with_other_metadata_is_refused(tmp_path, text):
    (path,) = write_split(tmp_path, rows=(10,))
    with_metadata(path, layers=text)
    assert refusal(open_shard, path).startswith(f"{path} is not a shard of activations")


def test_an_sae_that_claims_more_latents_than_it_has_is_refused(sae):
    claiming(sae, d_sae=10**12)
    assert "is said to have 1000000000000 latents and holds 12" in refusal(load_sae, sae)


@pytest.mark.parametrize(
    "text", [DEEP, "9" * 10_000, "[]", "{}", "null"], ids=lambda each: each[:9]
)
def test_what_is_no_description_of_an_sae_is_refused(sae, text):
    tensors, _ = load_tensors(sae / "sae.safetensors")
    save_tensors(sae / "sae.safetensors", tensors, sealed(tensors, {"config": text}))
    assert refusal(load_sae, sae).startswith(f"{sae / 'sae.safetensors'} does not say what SAE")
    # As earlier versions had it.
    save_tensors(sae / "sae.safetensors", tensors, sealed(tensors, {}))
    (sae / "cfg.json").write_text(text)
    assert refusal(load_sae, sae).startswith(str(sae))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"k": "3"}, {"k": 0}, {"k": -1}, {"k": 10**9}, {"k": None}, {"d_sae": "12"}),
        *({"layers": [0]}, {"layers": ["0", "3"]}, {"layers": {"0": 1}}, {"layers": [0, 0]}),
        *({"architecture": "nonesuch"}, {"architecture": 3}, {"fingerprint": 7}),
    ],
    ids=str,
)
def test_values_that_make_no_sae_are_refused(sae, wrong):
    claiming(sae, **wrong)
    assert str(sae) in refusal(load_sae, sae)


@pytest.mark.parametrize("text", [DEEP, f'{{"arms": {DEEP}}}', "9" * 10_000, "[]", "{}"])
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert refusal(read_plan, path).startswith(f"{path} ")


@pytest.mark.parametrize(
    "changes",
    [
        {"saes": [["base", "../../outside"]]},
        {"saes": [["base", "/etc/passwd"]]},
        {"saes": [["../base", "0-1"]]},
        {"saes": [["base", "0-999999999999"]]},
        {"saes": [["base", "0-1@../0-3"]]},
        {"variant": "base/.."},
        {"partition": "../complete-2"},
        {"partition": "/complete-2"},
    ],
    ids=str,
)
def test_a_plan_with_paths_for_names_is_refused(tmp_path, changes):
    arm = {
        **{"partition": "single", "variant": "base", "method": "single", "role": "main"},
        **{"count": 1, "matched_count": 1, "saes": [["base", "0-1"]]},
    }
    path = tmp_path / "plan.json"
    for arms in ([arm], [arm, {**arm, **changes}]):
        content = {"n_layers": 2, "seeds": [0], "auto": None, "arms": arms}
        path.write_text(json.dumps(content))
        if len(arms) == 1:
            assert read_plan(path).n_layers == 2
    assert refusal(read_plan, path).startswith(f"{path} is not a plan (")


def test_a_name_cannot_stand_for_more_layers_than_memory_holds():
    assert "is not a cluster" in refusal(layers_of, "0-999999999999")


@pytest.mark.parametrize("text", [DEEP, f'{{"text": {DEEP}}}', "9" * 10_000], ids=["1", "2", "3"])
def test_a_deep_or_long_line_of_json_is_named(tmp_path, text):
    path = tmp_path / "lines.jsonl"
    path.write_text(f'{{"text": "good"}}\n{text}\n')
    said = refusal(lambda: list(jsonl_documents([path], "text")))
    assert said.startswith(f"{path}, line 2: not valid JSON (")
    said = refusal(read_prompts, path)
    assert f"Correct {path}" in said
    assert "line 2: not valid JSON (" in said
    (tmp_path / "config.json").write_text(text)
    assert refusal(model_shape, {"path": str(tmp_path)}).startswith(f"{tmp_path}/config.json ")


def test_a_compressed_text_is_no_text(tmp_path):
    import gzip

    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    for read in (
        lambda: list(text_documents([path], None)),
        lambda: list(jsonl_documents([path], "text")),
    ):
        assert refusal(read).startswith(f"{path} is no text but compressed by gzip")


def test_a_pickle_in_a_data_set_is_not_read(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train.pkl", "train.bin"):
        (tmp_path / "data" / name).write_bytes(pickled(tmp_path / "mark"))
    (tmp_path / "data" / "data.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    said = refusal(lambda: list(dataset_documents(str(tmp_path / "data"), "train", "text")))
    assert said.startswith(f"Dataset {tmp_path / 'data'} cannot be read")
    assert not (tmp_path / "mark").exists()
