"""Rivals in the DAG: chains of SAEs, one SAE that reads everything, one code for all layers."""

import json

import pandas as pd
import pytest

RIVALS = {
    "transfer": {"directions": ["forwards", "backwards"], "budgets": [0.5]},
    "mlsae": [0.5],
    "crosscoder": {"counts": [1], "budgets": [0.5]},
}
ARMS = {
    "transfer-forwards (tokens-1of4~base)": ["0", "1~0", "2~0-1"],
    "transfer-backwards (tokens-1of4~base)": ["0~1-2", "1~2", "2"],
    "single (mlsae-1of2)": ["0-2"],
    "single (crosscoder-1of2)": ["0-2"],
}
TABLES = [
    f"results/tiny/tables/{name}"
    for name in ("arms.csv", "cost.csv", "comparisons.csv", "features.csv", "verdict_long.txt")
]


@pytest.fixture(scope="module")
def folder(first_run, made_once):
    """The results of the finished project with rivals beside its other arms; for reading only."""

    def make(place):
        project = first_run[0].copy(place)
        # Circuits and probes of single layers' codes are tested elsewhere.
        project.configure(arms=RIVALS, evaluation={"tasks": [], "probe_tokens": 0})
        project.run(*TABLES)

    return made_once("rivals", make)[0] / "results/tiny"


def read(folder, variant, name, file):
    return json.loads((folder / f"saes/{variant}/{name}/seed-0/{file}.json").read_text())


def test_chains_are_trained_one_after_the_other(folder):
    plan = json.loads((folder / "plan.json").read_text())
    assert {arm["name"]: [name for _, name in arm["saes"]] for arm in plan["arms"][-4:]} == ARMS
    for each in plan["saes"]:
        config = read(folder, each["variant"], each["sae"], "cfg")
        record = read(folder, each["variant"], each["sae"], "training")
        assert config["starts_from"] == each["starts_from"]
        assert config["layers"] == each["layers"]
        assert record["activations"] == each["training_tokens"]
        # Nobody reads on where another layer's SAE stopped, and every layer reads every token.
        assert config["first_step"] == 0
        n_layers = 3 if each["variant"].startswith(("mlsae", "crosscoder")) else 1
        assert record["tokens_reached"] == each["training_tokens"] // n_layers
    last = read(folder, "tokens-1of4~base", "2~0-1", "cfg")
    assert last["starts_from"] == ["tokens-1of4~base", "1~0"]
    assert read(folder, "mlsae-1of2", "0-2", "cfg")["every_layer"]


def test_rivals_are_in_every_table_and_in_the_verdict(folder):
    arms = pd.read_csv(folder / "tables/arms.csv").set_index("arm")
    cost = pd.read_csv(folder / "tables/cost.csv").set_index("arm")
    rivals = arms[arms["role"] == "rival"]
    assert list(rivals.index) == list(ARMS)
    columns = ("fvu", "fvu_worst", "delta_ce", "kl", "dead_fraction", "live_latents", "cost_flops")
    for column in columns:
        assert arms[column].notna().all(), column
    assert rivals["matched_count"].tolist() == pytest.approx([1.5] * 4)
    assert cost.loc[list(ARMS), "n_saes"].tolist() == [3, 3, 1, 1]
    # Every arm of 2,000 cached tokens reads as far as its longest SAE: all, and half of them.
    assert cost.loc["per-layer", "share_read"] == 1
    comparisons = pd.read_csv(folder / "tables/comparisons.csv")
    assert set(ARMS) <= set(comparisons["arm"])
    long = (folder / "tables/verdict_long.txt").read_text()
    for label in (
        *("transferred forwards at 50 %", "1 multi-layer SAE at 50 %"),
        "1 crosscoder at 50 %",
    ):
        assert f"| {label} |" in long


def test_a_crosscoder_is_asked_only_what_its_one_code_can_answer(folder):
    """Layers spliced one by one; not all at once, and nothing that takes a code of one layer."""
    name = "single (crosscoder-1of2)"
    arms = pd.read_csv(folder / "tables/arms.csv").set_index("arm")
    absent = arms.loc[name, ["ce_all", "delta_ce_all", "excess_ce_all", "kl_all"]]
    assert absent.isna().all()
    assert arms.drop(name)["ce_all"].notna().all()
    own, other = arms.loc[name], arms.loc["single (mlsae-1of2)"]
    assert own["l0_token"] == pytest.approx(own["l0"])
    assert own["l0_token_layer"] == pytest.approx(own["l0"] / 3)
    assert other["l0_token"] == pytest.approx(3 * other["l0"])
    features = pd.read_csv(folder / "tables/features.csv")
    assert name not in set(features["arm"])
    assert "single (mlsae-1of2)" in set(features["arm"])
    assert read(folder, "crosscoder-1of2", "0-2", "cfg")["layers_at_once"] == 3
