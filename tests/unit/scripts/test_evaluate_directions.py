"""The script on a tiny model: whose rows it writes, and to what they are compared."""

import evaluate_directions
import numpy as np
import pandas as pd
import pytest
import torch
from evaluate_directions import main
from held_saes import Held
from language_models import D_MODEL, save_tiny_model, write_description
from sae_settings_of import topk_settings
from synthetic_browser import make_invented_plan

from clustersae.browser.groups import shown_groups
from clustersae.experiment.plan import BROWSED
from clustersae.models.description import read_description
from clustersae.sae.architectures.topk import TopK
from clustersae.sae.storage import save_sae

N_LATENTS, SEED = 6, 4
#: Latents that fire, by group and layer.
FIRES = {
    ("0-1", 0): [0, 1, 5], ("0-1", 1): [1, 2], ("@0-1", 0): [1, 5], ("@0-1", 1): [2],
    ("0", 0): [3, 4], ("1", 1): [],
}  # fmt: skip


def write_sae(folder, variant, name, layers, seed, scale):
    sae = TopK(layers, N_LATENTS, 2, torch.zeros(len(layers), D_MODEL), scale)
    sae.initialise(torch.Generator().manual_seed(seed))
    settings = topk_settings(N_LATENTS, 2, seed=SEED)
    description = read_description(folder / "model")
    place = folder / "saes" / variant / name / f"seed-{SEED}"
    save_sae(place, sae, settings, variant, description.fingerprint, name)
    return place


def rows_of(folder, scale):
    """directions.parquet of invented SAEs, those of the root equal to those specialised from it."""
    save_tiny_model("llama", folder / "model")
    write_description(folder / "model", folder / "model/description.json", "tiny")
    groups = shown_groups(make_invented_plan(), list(BROWSED))
    saes, tables = [], {}
    for group in groups:
        for name in dict.fromkeys(group.saes.values()):
            layers = tuple(layer for layer, each in group.saes.items() if each == name)
            number = 0 if group.partition != "per-layer" else 1 + layers[0]
            own = scale[[*layers]]
            saes.append(write_sae(folder, group.own_variant, name, layers, number, own))
        for layer in group.layers:
            fires = np.isin(np.arange(N_LATENTS), FIRES[group.group, layer])
            label = dict(zip(("variant", "partition", "group"), group.key))
            latents = {"latent": np.arange(N_LATENTS, dtype=np.int32), "firing_rate": fires / 2}
            frame = pd.DataFrame(latents).assign(layer=layer, **label)
            # Another seed, in which all fire, says nothing.
            both = [frame.assign(seed=SEED), frame.assign(seed=SEED + 1, firing_rate=1.0)]
            tables.setdefault(group.key[:2], []).extend(both)
    paths = []
    for number, frames in enumerate(tables.values()):
        paths.append(folder / f"layers-{number}.parquet")
        pd.concat(frames).to_parquet(paths[-1])
    output = folder / "directions.parquet"
    main(folder / "model", groups, saes, paths, output, torch.device("cpu"))
    return pd.read_parquet(output).set_index(["group", "layer", "latent"]).sort_index()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return rows_of(tmp_path_factory.mktemp("scalar"), torch.tensor([2.0, 3.0]))


def test_latents_have_a_row_where_they_fire(rows):
    expected = [(group, layer, latent) for (group, layer), latents in FIRES.items()
                for latent in latents]  # fmt: skip
    assert sorted(rows.index) == sorted(expected)
    assert all(len(tokens) == 10 for tokens in rows["promoted"])
    assert rows.loc[("0-1", 0, 0), "promoted"][0].startswith("w")


def test_with_one_scale_per_layer_effects_are_those_of_the_latent_on_any_layer(rows):
    first, second = rows.loc[("0-1", 0, 1)], rows.loc[("0-1", 1, 1)]
    assert list(first["promoted"]) == list(second["promoted"])
    assert list(first["promoted_effect"]) == list(second["promoted_effect"])


def test_latents_know_what_an_export_makes_of_them(rows):
    assert set(rows.xs(0, level="layer")["scale"]) == {2}
    assert set(rows.xs(1, level="layer")["scale"]) == {3}


def test_nearest_are_live_latents_of_the_layers_own_sae(rows):
    assert {tuple(sorted(each)) for each in rows.xs(0, level="layer")["nearest"]} == {(3, 4)}
    assert all(len(each) == 0 for each in rows.xs(1, level="layer")["nearest"])
    own = rows.loc[("0", 0, 3)]
    assert own["nearest"][0] == 3
    assert own["cosine"][0] == pytest.approx(1, abs=1e-6)


def test_specialised_latents_know_how_near_they_are_to_their_start(rows):
    assert rows.loc["@0-1", "start_cosine"].to_numpy() == pytest.approx(1, abs=1e-6)
    assert rows.drop("@0-1")["start_cosine"].isna().all()


def test_few_saes_are_held_at_once(tmp_path, monkeypatch):
    """Its own, the one it started from, a layer's, and the one that makes room for the next."""
    held = Held(monkeypatch, evaluate_directions)
    rows_of(tmp_path, torch.tensor([2.0, 3.0]))
    assert held.most <= 4


def test_with_a_scale_per_dimension_effects_are_of_each_layer(tmp_path):
    scale = torch.rand(2, D_MODEL, generator=torch.Generator().manual_seed(0)) + 0.1
    rows = rows_of(tmp_path, scale)
    first, second = rows.loc[("0-1", 0, 1)], rows.loc[("0-1", 1, 1)]
    assert list(first["promoted_effect"]) != list(second["promoted_effect"])
