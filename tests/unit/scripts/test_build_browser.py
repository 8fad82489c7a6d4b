"""The script on an invented run: what the pieces say of latents that are known."""

import json
import re
from pathlib import Path
from tempfile import mkdtemp

import pytest
from synthetic_browser import EVIL, GONE, HOSTILE, TWIN, Run


def read(path):
    """The value of a piece."""
    text = path.read_text(encoding="ascii")
    match = re.fullmatch(r"clustersae\.take\((.*)\);\n", text)
    assert match is not None
    name, value = json.loads(f"[{match[1]}]")
    assert name == path.stem
    return value


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("run"), judged=True).build().parent / "data"


@pytest.fixture(scope="module")
def catalogue(data):
    return read(data / "catalogue.js")


def row(data, group, latent):
    index = read(data / f"g{group}" / "index.js")
    place = index["latent"].index(latent)
    return {name: column[place] for name, column in index.items()}


def layers(data, group, latent):
    """What a chunk says of a latent, by layer, with words in the place of their numbers."""
    chunk = read(data / f"g{group}" / "0.js")
    return dict(chunk["latents"])[latent], chunk["words"]


def test_the_catalogue_names_groups_their_files_and_their_roots(data, catalogue):
    assert (catalogue["model"], catalogue["seed"], catalogue["separator"]) == ("invented", 4, "")
    groups = catalogue["groups"]
    assert [(each["title"], each["size"], each["live"], each["root"]) for each in groups] == [
        ("layers 0-1", 12, 12, None),
        ("layers 0-1", 12, 11, 0),  # GONE fires nowhere
        ("layer 0", 4, 4, None),
        ("layer 1", 4, 4, None),
    ]
    assert groups[0]["floor"] == [[0.5, 0.5], [0.5, 0.5]]
    for number, group in enumerate(groups):
        names = {file.stem for file in (data / f"g{number}").iterdir()}
        assert names == {"index", *map(str, group["chunks"])}


def test_the_index_has_what_is_known_of_a_latent(data):
    twin = row(data, 0, TWIN)
    assert (twin["label"], twin["kept"], twin["rule"]) == ("the zebra", 0, 1)
    assert (twin["spread"], twin["profile"], twin["factor"]) == (2, "99", None)
    assert {"zebra", "lion", "stripes"} <= set(twin["words"].split())
    assert row(data, 1, TWIN)["kept"] == 1
    assert row(data, 0, 2)["profile"] == "90"
    assert row(data, 2, 1)["kept"] is None  # serves one layer
    hostile = row(data, 0, HOSTILE)
    assert (hostile["judge"], hostile["factor"]) == (0.5, 0.875)
    assert hostile["label"] == f"speaks of {EVIL[1]}"
    assert EVIL[0] in hostile["words"]
    assert GONE not in read(data / "g1/index.js")["latent"]


def test_details_have_contexts_of_every_layer_as_they_were(data):
    (first, second), words = layers(data, 0, TWIN)
    assert first[:4] == [0, 0.5, 0.1, 2]
    for (layer, contexts), animal in zip(((0, first[4]), (1, second[4])), ("zebra", "lion")):
        assert len(contexts) == 4, layer  # not the fifth, not the silent one
        sequence, tokens, active = contexts[1]
        assert [words[token] for token in tokens] == ["see", "number1", "the", animal, "run"]
        assert (sequence, active) == (1, [2, 0.25, 3, 4])
    clauses, accuracies, holds = first[5]
    assert [[words[each] for each in clause] for clause in clauses] == [["zebra", "the"]]
    assert (accuracies, holds) == ([1, 0.5], [1, 0])
    assert [words[token] for token in first[6][0]] == ["stripes", "grass"]
    assert first[7] == [[words.index("tax")], [-1.5]]
    assert first[8] == [[2, 0], [0.9, 0.1]]
    assert first[9:] == [None, None, None]
    (own, _), _ = layers(data, 1, TWIN)
    assert own[9] == 0.8  # cosine to what it started from


def test_a_judges_scores_stand_with_their_layers(data):
    (first, second), _ = layers(data, 0, HOSTILE)
    assert first[10:] == [0.75, 0.25]
    assert second[10:] == [0.625, None]


def test_hostile_text_is_there_in_full_and_cannot_run(data):
    (first, _), words = layers(data, 0, HOSTILE)
    assert [words[token] for token in first[4][0][1]] == list(EVIL)
    for file in data.rglob("*.js"):
        assert not set("<>&") & set(file.read_text(encoding="ascii")), file


def test_making_it_again_replaces_what_was_there(tmp_path):
    run = Run(tmp_path)
    folder = run.build().parent
    first = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.js")}
    (folder / "data" / "stale.js").write_text("")
    (Path(mkdtemp(prefix=".data.", dir=folder)) / "half.js").write_text("")  # of a killed job
    run.build()
    assert {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*.js")} == first
    assert {path.name for path in folder.iterdir()} == {
        *("index.html", "browser.js", "browser.css", "data")
    }
