"""Which files jobs read, asked as Snakemake asks: by wildcards, after checkpoints."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from plan_settings import plan_settings

from clustersae.experiment.inputs import SAE_FOLDER, Inputs
from clustersae.experiment.params import Params, growing
from clustersae.experiment.planning import make_plan
from clustersae.experiment.streaming import Streaming

DESCRIPTION = {
    "n_layers": 3,
    "partitions": {
        "single": {"method": "single", "clusters": ["0-2"]},
        "complete-2": {"method": "complete", "clusters": ["0-1", "2"]},
        "even-2": {"method": "even", "clusters": ["0-1", "2"]},
        "per-layer": {"method": "per-layer", "clusters": ["0", "1", "2"]},
    },
}
MODEL = {
    **{"same_as": None, "path": None, "trained": None, "toy_english": False},
    "trust_remote_code": False,
    "corpus": {"files": ["text.txt"], "dataset": None},
    "activations": {
        **{"tokens": {"train": 250, "validation": 100, "test": 1}, "shard_tokens": 100},
        **{"window": None, "keep": True},
    },
    "clustering": {"distance": "angular", "tokens": None, "seed": 0},
    "sae": {
        **{"seeds": [7, 8], "training_tokens": 10_000, "batch_size": 128, "min_steps": 0, "k": 4},
        **{"learning_rate": [0.1, 0.2]},
        "specialise": {"shared_fraction": 0.5, "learning_rate": 0.05},
    },
    "arms": plan_settings(
        shared={"counts": [2], "methods": ["complete"]},
        specialised=[{"from": 1, "budgets": [0.5]}],
        controls={"methods": ["even"], "counts": [2], "draws": 1},
    )["arms"],
    "evaluation": {
        **{"tasks": ["induction", "mine.jsonl"], "judge": {"base_url": None}, "splice_tokens": 9},
        "circuits": {"errors": ["kept", "nodes"], "sizes": 3},
    },
    "browser": {"arms": ["per-layer", "specialised"], "neuronpedia": False},
}
AUTO = {**MODEL, "arms": {**MODEL["arms"], "auto": ["shared"]}}


class Checkpoints:
    """Snakemake's checkpoints, all of them finished: their outputs are files in a folder."""

    def __init__(self, folder: Path) -> None:
        def plan(model):
            return SimpleNamespace(output=[folder / f"{model}-plan.json"])

        def partitions(model):
            return SimpleNamespace(output=[folder / "partitions.json"])

        def assess(model, task):
            return SimpleNamespace(output=SimpleNamespace(task=folder / f"{task}.json"))

        self.make_plan = SimpleNamespace(get=plan)
        self.cluster_layers = SimpleNamespace(get=partitions)
        self.assess_task = SimpleNamespace(get=assess)


@pytest.fixture
def inputs(tmp_path):
    plan = make_plan(DESCRIPTION, MODEL).as_json(MODEL["sae"])
    for name, content in {
        **{"m-plan": plan, "wide-plan": plan, "auto-plan": plan, "partitions": DESCRIPTION},
        **{"induction": {"usable": False}, "mine": {"usable": True}},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    models = {
        "m": {**MODEL, "path": str(tmp_path / "gpt")},
        "wide": {**MODEL, "same_as": "m"},
        "hub": MODEL,
        "trained": {**MODEL, "trained": "toy", "toy_english": True},
        "auto": AUTO,
    }
    return Inputs(models, Checkpoints(tmp_path))


def wildcards(model="m", **given):
    return SimpleNamespace(model=model, **given)


def test_a_model_that_is_the_same_as_another_reads_its_activations(inputs):
    shards = [f"results/m/activations/train/shard-{n}.safetensors" for n in range(3)]
    assert inputs.shards("train")(wildcards()) == shards
    assert inputs.shards("train")(wildcards("wide")) == shards
    assert len(inputs.shards("test")(wildcards())) == 1
    caching = Streaming(inputs).caching("{model}/{shard}", "")
    assert caching(wildcards("wide")) == ["m/0", "m/1", "m/2"]
    assert inputs.of_home("model/x")(wildcards("wide")) == "results/m/model/x"
    assert inputs.tokens()(wildcards("wide", split="test")) == "results/m/corpus/test.safetensors"


def test_a_trained_model_is_imported_like_any_other_and_its_text_is_read_where_it_is(inputs):
    folder = "results/language_models/toy"
    assert inputs.model_folder(wildcards("trained")) == f"{folder}/model"
    assert f"{folder}/model/model.safetensors" in inputs.trained_files(wildcards("trained"))
    assert inputs.model_files(wildcards("trained")) == []
    assert inputs.model_contents(wildcards("trained")) is None
    assert inputs.tokens("test")(wildcards("trained")) == f"{folder}/corpus/test.safetensors"
    assert inputs.factors(wildcards("trained")) == [f"{folder}/corpus/factors.parquet"]
    assert inputs.factors(wildcards()) == []


def test_a_model_that_is_here_is_an_input_and_one_on_the_hub_is_none(inputs, tmp_path):
    (tmp_path / "gpt").mkdir()
    for name in ("config.json", "model.safetensors", "notes.txt"):
        (tmp_path / "gpt" / name).touch()
    files = inputs.model_files(wildcards())
    assert [Path(file).name for file in files] == ["config.json", "model.safetensors"]
    assert inputs.trained_files(wildcards()) == []
    assert inputs.model_folder(wildcards("hub")) is None
    assert inputs.model_files(wildcards("hub")) == []
    assert inputs.corpus_files(wildcards()) == ["text.txt"]


def test_code_of_a_model_counts_where_it_may_run(inputs, tmp_path):
    (tmp_path / "gpt").mkdir()
    for name in ("config.json", "modeling.py"):
        (tmp_path / "gpt" / name).touch()
    before = inputs.model_contents(wildcards())
    (tmp_path / "gpt" / "modeling.py").write_text("print()")
    assert inputs.model_contents(wildcards()) == before
    inputs.models["m"]["trust_remote_code"] = True
    assert [Path(file).name for file in inputs.model_files(wildcards())] == [
        "config.json",
        "modeling.py",
    ]
    before = inputs.model_contents(wildcards())
    (tmp_path / "gpt" / "modeling.py").write_text("print(1)")
    assert inputs.model_contents(wildcards()) != before


def test_a_text_is_known_by_its_files_and_by_those_of_a_local_data_set(inputs, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.jsonl").write_text("{}")
    inputs.models["m"]["corpus"] = {"files": [], "dataset": str(tmp_path / "data")}
    before = inputs.corpus_contents(wildcards())
    (tmp_path / "data" / ".cache").write_text("not read")
    assert inputs.corpus_contents(wildcards()) == before
    (tmp_path / "data" / "0.jsonl").write_text("[]")
    assert inputs.corpus_contents(wildcards()) != before
    inputs.models["m"]["corpus"] = {"files": [], "dataset": "on/hub"}
    assert inputs.corpus_contents(wildcards()) is None


def test_a_specialised_sae_waits_for_what_it_starts_from(inputs):
    child = wildcards(variant="tokens-1of4@equal-exposure-1of4", sae="1@0-2", seed="8")
    folder = "results/m/saes/equal-exposure-1of4/0-2/seed-8"
    assert inputs.start(child) == [f"{folder}/sae.safetensors"]
    assert inputs.start(wildcards(variant="base", sae="1", seed="8")) == []
    for sae, variant, start in (
        ("3~0-2", "tokens-1of5~base", "tokens-1of5~base/2~0-1"),
        ("1~2-4", "tokens-1of5~base", "tokens-1of5~base/2~3-4"),
        ("3~4", "tokens-1of5~base", "base/4"),
    ):
        folder = f"results/m/saes/{start}/seed-8"
        neighbour = wildcards(variant=variant, sae=sae, seed="8")
        assert inputs.start(neighbour) == [f"{folder}/sae.safetensors"]


def test_the_first_seed_tries_the_learning_rates_and_the_others_wait_for_it(inputs):
    first = wildcards(variant="base", sae="1", seed="7")
    other = wildcards(variant="base", sae="1", seed="8")
    assert len(inputs.tuning_shards(first)) == 1
    assert inputs.tuned(first) == []
    assert inputs.tuning_shards(other) == []
    assert inputs.tuned(other) == ["results/m/saes/base/1/seed-7/training.json"]
    # One rate, as specialised SAEs have here, is nothing to choose from.
    child = wildcards(variant="tokens-1of4@equal-exposure-1of4", sae="1@0-2", seed="7")
    assert inputs.tuning_shards(child) == inputs.tuned(child) == []


def test_files_of_an_arm_are_those_of_its_saes(inputs):
    arm = wildcards(variant="base", partition="complete-2")
    assert inputs.of_arm("x")(arm) == [
        f"results/m/saes/base/{sae}/seed-{seed}/x" for sae in ("0-1", "2") for seed in (7, 8)
    ]
    special = wildcards(variant="tokens-1of4@equal-exposure-1of4", partition="per-layer@single")
    alone = inputs.of_arm("x")(special)
    assert len(alone) == 6
    assert inputs.of_arm("x", with_roots=True)(special) == [
        *alone,
        *(f"results/m/saes/equal-exposure-1of4/0-2/seed-{seed}/x" for seed in (7, 8)),
    ]
    baseline = inputs.of_saes(f"{SAE_FOLDER}/x", "baseline_saes")(special)
    assert baseline[0] == "results/m/saes/base/0/seed-7/x"


def test_arms_of_the_same_saes_are_asked_for_once(inputs):
    files = inputs.of_arms("splice", "all.csv")(wildcards())
    assert "results/m/evaluation/splice/base/complete-2/all.csv" in files
    assert not any("even-2" in file for file in files)
    assert len(files) == len(set(files)) == 4
    both = inputs.of_arms("correspondence", "x", "corresponding_arms")(wildcards())
    assert len(both) == 2


def test_each_sae_of_the_plan_is_asked_for_once(inputs):
    pattern = "{variant}/{sae}/{seed}"
    trained = inputs.of_saes(pattern)(wildcards())
    assert len(trained) == len(set(trained)) == 2 * (3 + 1 + 3 + 3 + 1)
    evaluated = inputs.of_saes("{variant}/{sae}", "evaluated_saes")(wildcards())
    assert "equal-exposure-1of4/0-2" not in evaluated
    assert len(evaluated) == 3 + 1 + 3 + 3


def test_pilots_are_asked_for_where_they_settle_something(inputs):
    assert inputs.of_pilots("{sae}")(wildcards()) == []
    assert set(inputs.of_pilots("{sae}")(wildcards("auto"))) == {"0-1", "0-2", "0", "1", "2"}


def test_a_plan_asks_for_nothing_that_has_to_be_paid_for(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    homes = ("m", "hub", "trained", "auto")  # wide is the same as m
    models = [f"results/{name}/model/description.json" for name in homes]
    assert inputs.plans(wildcards()) == models
    for name in ("m", "auto"):
        (tmp_path / f"results/{name}/clusters").mkdir(parents=True)
        (tmp_path / f"results/{name}/clusters/partitions.json").touch()
    of_m = ["results/m/clusters/partitions.json", "results/m/plan.json"]
    of_auto = ["results/auto/clusters/partitions.json", "results/auto/pilots.json"]
    assert inputs.plans(wildcards()) == [*models, *of_m, *of_auto]
    (tmp_path / "results/auto/plan.json").touch()
    assert inputs.plans(wildcards())[-1] == "results/auto/plan.json"


def test_rows_are_those_of_the_text_and_unsaid_where_the_model_was_trained_on_them():
    corpus = {"files": ["text.txt"], "n_ctx": 16, "bos": "row"}
    params = Params({"m": {"corpus": corpus}, "trained": {"corpus": None}}, ".")
    assert params.rows(wildcards()) == {"n_ctx": 16, "bos": "row"}
    assert params.rows(wildcards("trained")) == {}


def test_params_are_the_settings_that_decide_a_job():
    params = Params({"m": MODEL}, ".")
    assert params.section("clustering", without=("tokens",))(wildcards()) == {
        "distance": "angular",
        "seed": 0,
    }
    assert params.first_of("evaluation", "circuits", "errors")(wildcards()) == "kept"
    left_open = Params({"m": {"errors": None}}, ".")
    assert left_open.first_of("errors", otherwise="ablated")(wildcards()) == "ablated"
    root, child = (
        params.sae(wildcards(sae=sae, variant=variant))
        for variant, sae in (("base", "0-2"), ("tokens-1of4@base", "1@0-2"))
    )
    assert params.sae(wildcards(sae="1~0", variant="tokens-1of4~base")) == child
    assert "seeds" not in root
    assert "specialise" not in root, "how others go on from it changes nothing"
    assert child["specialise"] == {"learning_rate": 0.05}
    assert params.clustering(wildcards())["controls"] == ["even"]


@pytest.mark.parametrize(
    ("rates", "counts"), [([0.1, 0.2], True), ([0.1], False), (0.1, False), (None, False)]
)
def test_the_limit_of_dead_latents_counts_where_there_are_rates_to_choose_from(rates, counts):
    sae = MODEL["sae"] | {"max_dead": 0.1, "learning_rate": rates}
    params = Params({"m": {**MODEL, "sae": sae}}, ".")
    assert ("max_dead" in params.sae(wildcards(variant="base", sae="0-2"))) == counts
    # Of those that start from another there is one rate.
    assert "max_dead" not in params.sae(wildcards(variant="tokens-1of4@base", sae="1@0-2"))


def test_another_template_is_another_page(tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "page.html").write_text("<p>")
    params = Params({}, tmp_path)
    before = params.contents("page")
    assert params.contents("page") == before
    (folder / "page.html").write_text("<p> ")
    assert params.contents("page") != before


def test_a_text_is_asked_for_what_all_its_readers_want():
    more = {**MODEL, "activations": {"tokens": {"train": 300, "validation": 1, "test": 1}}}
    models = {"a": {**MODEL, "trained": "toy"}, "b": {**more, "trained": "toy"}, "m": MODEL}
    params = Params(models, ".")
    expected = {
        "activations.tokens.train": ("train", 300),
        "activations.tokens.validation": ("validation", 100),
        "activations.tokens.test": ("test", 1),
        "evaluation.splice_tokens": ("test", 9),
    }
    assert params.tokens_asked_of_trained(wildcards("toy"), None) == expected
    assert params.tokens_asked(wildcards("m"), None)["activations.tokens.train"] == ("train", 250)


def test_resources_double_with_every_attempt():
    assert [growing(1000)(wildcards(), attempt) for attempt in (1, 2, 3)] == [1000, 2000, 4000]


def test_a_browser_reads_arms_that_are_shown_and_the_roots_of_specialised_ones(inputs):
    found = inputs.of_browsed("features", "rules.parquet")(wildcards())
    folders = [path.removeprefix("results/m/evaluation/features/") for path in found]
    special = "tokens-1of4@equal-exposure-1of4/per-layer@single"
    assert folders == [
        f"{arm}/rules.parquet" for arm in ("base/per-layer", special, "equal-exposure-1of4/single")
    ]
    saes = inputs.of_browsed_saes("cfg.json")(wildcards())
    # The first seed alone; three layers, those specialised for them, and the root.
    assert len(saes) == len(set(saes)) == 7
    assert all(path.endswith("/seed-7/cfg.json") for path in saes)
    assert "results/m/saes/equal-exposure-1of4/0-2/seed-7/cfg.json" in saes


def test_what_is_shown_is_measured_also_where_it_is_no_arm(inputs):
    root = wildcards(variant="equal-exposure-1of4", partition="single")
    assert inputs.of_arm("sae.safetensors")(root) == [
        f"results/m/saes/equal-exposure-1of4/0-2/seed-{seed}/sae.safetensors" for seed in (7, 8)
    ]
