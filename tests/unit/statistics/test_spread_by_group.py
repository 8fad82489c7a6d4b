"""Files of latents on their way into tables: damaged ones are named, dead latents left out."""

import pandas as pd
import pytest
from synthetic_features import Features
from synthetic_results import Experiment

from clustersae.runtime.errors import InputError
from clustersae.statistics.spread import spread_by_group


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spread")
    return Features(Experiment(folder, n_layers=4, counts=(2,), controls=False))


def test_files_of_latents_that_are_damaged_are_named(features, tmp_path):
    latents, layers = features.paths["latents"][:1], features.paths["layers"][:1]
    rows = pd.read_parquet(latents[0])
    changed = tmp_path / "changed.parquet"
    rows.drop(columns="entropy").to_parquet(changed)
    with pytest.raises(InputError, match=r"changed.parquet is not a table with .*entropy"):
        spread_by_group([changed], layers)
    changed.write_text("no table")
    with pytest.raises(InputError, match=r"changed.parquet is not a table"):
        spread_by_group([changed], layers)
    with pytest.raises(InputError, match=r"nowhere.parquet does not exist"):
        spread_by_group([tmp_path / "nowhere.parquet"], layers)
    pd.read_parquet(layers[0]).query("latent != 4").to_parquet(changed)
    with pytest.raises(InputError, match=r"changed.parquet lacks layers of latents"):
        spread_by_group(latents, [changed])


def test_a_group_of_dead_latents_has_no_spread(features, tmp_path):
    rows = pd.read_parquet(features.paths["latents"][0])
    rows["firing_rate"] = 0.0
    path = tmp_path / "dead.parquet"
    rows.to_parquet(path)
    spread = spread_by_group([path], features.paths["layers"][:1])
    assert set(spread["n_live"]) == {0}
    assert spread["effective_layers"].isna().all()
    assert len(spread) == 12


def test_a_latent_is_at_home_where_it_has_more_than_nine_tenths(features, tmp_path):
    rows = pd.read_parquet(features.paths["layers"][0])
    rows.assign(p_layer=0.9 + 0.02 * (rows["latent"] == 1)).to_parquet(tmp_path / "layers.parquet")
    spread = spread_by_group(features.paths["latents"][:1], [tmp_path / "layers.parquet"])
    assert (spread["home_share"] * spread["n_live"]).tolist() == pytest.approx([1] * len(spread))
