"""A finished run as a notebook sees it."""

import shutil

import pytest
import torch
import transformers

import clustersae
from clustersae.runtime.errors import InputError


@pytest.fixture(scope="module")
def run(first_run):
    return clustersae.Run(first_run[0].folder / "results/tiny")


def test_tables_partitions_and_the_answer(run):
    assert {"arms", "layer_quality", "stream", "cost"} <= set(run.tables)
    assert set(run.table("arms")["arm"]) == set(run.arms)
    assert run.table("layer_quality")["cluster"].map(type).eq(str).all()
    assert run.partitions["complete-2"]["count"] == 2
    assert run.verdict.startswith("Best:")


def test_layers_of_a_cluster_have_one_sae(run):
    saes = run.saes("complete-2")
    assert list(saes) == [0, 1, 2]
    assert len(set(map(id, saes.values()))) == 2
    layer = next(layer for layer, sae in saes.items() if len(sae.layers) == 2)
    path = run.folder / "saes/base" / saes[layer].config["cluster"] / "seed-0"
    x = torch.randn(5, saes[layer].d_model)
    loaded = clustersae.load(path)
    assert torch.equal(loaded.reconstruct(x, layer), saes[layer].reconstruct(x, layer))


def test_an_arm_inside_a_hugging_face_model(run):
    model = transformers.AutoModelForCausalLM.from_pretrained(run.folder / "model").eval()
    saes = run.saes("per-layer")
    tokens = torch.randint(3, model.config.vocab_size, (2, 9))
    keep = torch.zeros(2, 9, dtype=torch.bool)
    keep[:, 0] = True
    with torch.no_grad():
        clean = model(tokens).logits
        with run.spliced(model, saes, torch.ones_like(keep)):
            torch.testing.assert_close(model(tokens).logits, clean)
        with run.spliced(model, saes, keep):
            changed = model(tokens).logits
        torch.testing.assert_close(model(tokens).logits, clean)
    torch.testing.assert_close(changed[:, 0], clean[:, 0])
    assert not torch.allclose(changed[:, -1], clean[:, -1])


@pytest.mark.parametrize("bounded", [False, True])
def test_hooks_for_transformer_lens_do_the_same(run, bounded):
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    model = transformers.AutoModelForCausalLM.from_pretrained(run.folder / "model").eval()
    saes = run.saes("complete-2")
    tokens = torch.randint(3, model.config.vocab_size, (2, 9))
    with torch.no_grad(), run.spliced(model, saes, bounded=bounded):
        expected = model(tokens).logits
    other = transformers.AutoModelForCausalLM.from_pretrained(run.folder / "model").eval()
    bridge = build_bridge_from_module(other, type(other).__name__, hf_config=other.config)
    with torch.no_grad():
        found = bridge.run_with_hooks(tokens, fwd_hooks=run.hooks(saes, bounded))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_what_is_not_there_is_named(run, tmp_path):
    with pytest.raises(InputError, match="has no plan"):
        clustersae.Run(tmp_path)
    with pytest.raises(InputError, match="no table 'arm': use arms"):
        run.table("arm")
    with pytest.raises(InputError, match="no arm 'complete-9': use per-layer"):
        run.saes("complete-9")
    with pytest.raises(InputError, match=r"has the seeds \[0\], not 7"):
        run.saes("per-layer", seed=7)


def test_a_dry_run_for_the_hub_takes_the_arm_that_the_verdict_names(finished, capsys, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # where nobody answers
    run = clustersae.Run(finished.folder / "results/tiny")
    folder = run.push_to_hub("somebody/saes")
    assert folder == run.folder / "hub/somebody/saes"
    printed = capsys.readouterr().out
    assert printed.startswith("Nothing was uploaded.")
    assert "saelens/layer_2/sae_weights.safetensors" in printed
    arms = run.table("arms").set_index("arm")
    chosen = arms.index[arms["chosen"]]
    card = (folder / "README.md").read_text()
    assert "text.txt" in card
    for layer, sae in run.saes(chosen[0]).items():
        assert f"| {layer} | {sae.config['cluster']} |" in card
        own = folder / "clustersae/base" / sae.config["cluster"]
        x = torch.randn(3, sae.d_model)
        assert torch.equal(clustersae.load(own).reconstruct(x, layer), sae.reconstruct(x, layer))
    with pytest.raises(InputError, match="could not be uploaded"):
        run.push_to_hub("somebody/saes", upload=True)


def test_a_run_that_shares_the_model_of_another_finds_it(finished):
    shared = finished.folder / "results/other"
    shutil.copytree(finished.folder / "results/tiny", shared)
    shutil.rmtree(shared / "model")
    run = clustersae.Run(shared)
    assert run.model_folder == finished.folder / "results/tiny/model"
    assert run.description == clustersae.Run(finished.folder / "results/tiny").description
    (finished.folder / "results/tiny/model/description.json").unlink()
    with pytest.raises(InputError, match="has no model"):
        _ = clustersae.Run(shared).description
