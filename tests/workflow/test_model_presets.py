"""The presets of published models, each whole, on a small model of its architecture."""

import csv
import json
import random
from pathlib import Path

import datasets
import pytest
import transformers
import yaml
from preset_models import SMALL, save_in_cache
from snakemake_project import REPOSITORY, Project, merged, words

pytestmark = pytest.mark.long

#: What is studied of the small model: as many blocks apart as in the preset, the last one left out
#: where it is there.
LAYERS = {
    **{name: {"first": 0, "last": 2} for name in ("pythia-160m", "pythia-410m", "pythia-1b")},
    "gpt2-small": "all",
    "llama-3.2-1b": {"first": 1, "step": 2},
    "gemma-2-2b": {"first": 1, "step": 2},
    "qwen3-0.6b": {"first": 1, "step": 2},
}
N_CTX = 32


def small(given: dict, name: str, dataset: Path) -> dict:
    """The preset with fewer tokens, latents, seeds and arms."""
    published = not given["arms"]["specialised"]  # those have clusters and narrower SAEs instead
    corpus = {
        **{"dataset": str(dataset), "subset": None, "revision": None, "n_ctx": N_CTX},
        **{"max_tokens": 9000, "fractions": {"validation": 0.1, "test": 0.1}},
    }
    changes = {
        "models": {name: {"corpus": corpus}},
        "activations": {
            "layers": LAYERS[name],
            "tokens": {"train": 4000, "validation": 400, "test": 400},
            "shard_tokens": 4000,
        },
        "sae": {
            **{"k": 4, "expansion_factor": 4, "training_tokens": 4000, "batch_size": 256},
            **{"dead_after": 1000, "seeds": [0]},
        },
        "arms": {
            "per_layer": [1],
            "narrower": [0.5] if published else [],
            "shared": {"counts": [1, 2] if published else [1]},
            "specialised": [] if published else [{"from": 1, "budgets": [0.5]}],
            "controls": {"counts": [2] if published else []},
        },
        "evaluation": {
            "splice_tokens": 300,
            "probe_tokens": 100,
            "features": {"tokens": 300, "min_firings": 3, "contexts": 2, "context_tokens": 6},
        },
    }
    if isinstance(given["sae"]["learning_rate"], list):
        changes["sae"]["learning_rate"] = [0.003]
    if given.get("clustering"):
        changes["clustering"] = {"tokens": 2000}
    return merged(given, changes)


def save_corpus(folder: Path, model: Path, tokenised: bool) -> Path:
    """A dataset of text or, for a preset that reads one, of tokens in rows."""
    documents = words(40_000).split("\n")
    if tokenised:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        ids = tokenizer(" ".join(documents), add_special_tokens=False)["input_ids"]
        rows = [ids[start : start + N_CTX] for start in range(0, len(ids) - N_CTX, N_CTX)]
        table = {"tokens": rows}
    else:
        random.Random(0).shuffle(documents)
        table = {"text": [" ".join(documents[i : i + 5]) for i in range(0, len(documents), 5)]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(table)}).save_to_disk(folder)
    return folder


@pytest.fixture(scope="module", params=SMALL)
def run(request, tmp_path_factory):
    """A finished run: the preset's name, its model's folder and its results."""
    name = request.param
    preset = REPOSITORY / "workflow" / "presets" / f"{name}.yaml"
    given = yaml.safe_load(preset.read_text(encoding="utf-8"))
    folder = tmp_path_factory.mktemp("preset")
    project = Project.create(folder / "project", preset)
    settings = given["models"][name]
    model = save_in_cache(name, folder / "hub", settings["repo"], settings["revision"])
    tokenised = settings["corpus"].get("tokenised", False)
    dataset = save_corpus(folder / "dataset", model, tokenised)
    config = yaml.safe_dump(small(given, name, dataset))
    (project.folder / "config.yaml").write_text(config, encoding="utf-8")
    result = project.snakemake(
        *("--cores", "2", "--resources", "gpu=0"), HF_HUB_CACHE=str(folder / "hub")
    )
    assert result.returncode == 0, result.stdout
    return name, model, project.folder / "results" / name


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_preset_runs_whole_with_the_commit_that_it_names(run):
    name, model, results = run
    description = json.loads((results / "model" / "description.json").read_text())
    assert description["revision"] == model.name
    assert description["d_model"] == 64
    roles = {row["role"] for row in rows_of(results / "tables" / "arms.csv")}
    assert roles >= {"baseline", "main", "equal-compute"}
    assert ("specialised" in roles) == ("pythia" not in name)
    assert (results / "report.html").is_file()
    assert "SAE" in (results / "tables" / "verdict.txt").read_text(encoding="utf-8")


def test_its_text_is_read_with_the_tokenizer_of_the_model(run):
    name, model, results = run
    kind = json.loads((model / "tokenizer_config.json").read_text())["tokenizer_class"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(results / "model")
    # transformers has a new name for what is the tokenizer of no model alone.
    known = {"PreTrainedTokenizerFast": "TokenizersBackend"}
    assert type(tokenizer).__name__ in (kind, known.get(kind))
    corpus = json.loads((results / "corpus" / "corpus.json").read_text())
    assert corpus["n_ctx"] == N_CTX
    begins = {"llama-3.2-1b": "document", "gemma-2-2b": "document"}
    assert corpus["bos"] == begins.get(name, "auto" if "pythia" in name else "none")


def test_the_layers_that_the_preset_means_are_studied(run):
    name, _, results = run
    layers = {int(row["layer"]) for row in rows_of(results / "tables" / "layer_quality.csv")}
    expected = {0, 1, 2} if "pythia" in name else {1, 3}
    assert layers == ({0, 1} if name == "gpt2-small" else expected)
