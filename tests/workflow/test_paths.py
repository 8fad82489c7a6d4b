"""Paths that a shell or an editor accepts: of the project, models, texts, tasks and the config."""

import json
import os
import shutil

import pytest
from language_models import save_tiny_model
from snakemake_project import TINY, Project, prompts
from tiny_tokenizers import word_level

ODD = (
    *("a b", "it's", 'say "so"', "{model}", "{x", "}{", "{{w}}", "{n,3}", "ü ñ 猫", "[1]", "a*b?"),
    *(
        "#1",
        "$HOME",
        "100%",
        "a,b",
        "a;b",
        "back\\slash",
        "-dash",
        "a&b|c",
        "(x)",
        "~tilde",
        ".dot",
    ),
    *("`ls`", "!x", "a=b", "a:b", "@x"),
)
CORPUS = "results/tiny/corpus/corpus.json"


def use_odd_paths(project, folder):
    """Move everything that the experiment reads into `folder`, whatever that is called."""
    words = (project.folder / "text.txt").read_text(encoding="utf-8").split()
    for name in ODD:
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.txt").write_text(" ".join(words[:300]), encoding="utf-8")
    save_tiny_model("gpt2", folder / "{model}" / "{x} model's")
    names = ["<unk>", *sorted(set(words))]
    word_level(names, names[:1], names[0]).save(str(folder / "{model}/{x} model's/tokenizer.json"))
    (folder / "{model}" / "prompts.jsonl").write_text(prompts(), encoding="utf-8")
    project.configure(
        models={
            "tiny": {
                "trained": None,
                "path": f"{folder}/{{model}}/{{x}} model's",
                "corpus": {
                    **{"source": "text", "files": [f"{folder}/{name}/{name}.txt" for name in ODD]},
                    **{"n_ctx": 16, "fractions": {"validation": 0.1, "test": 0.1}},
                },
            }
        },
        evaluation={"tasks": [f"{folder}/{{model}}/prompts.jsonl"]},
    )


@pytest.mark.long
def test_every_path_that_a_shell_accepts_is_read_and_watched(tmp_path):
    project = Project.create(tmp_path / 'a b\'s "project" ü', TINY)
    use_odd_paths(project, tmp_path / "odd")
    task = "results/tiny/tasks/prompts/task.json"
    project.run(CORPUS, task)
    summary = json.loads((project.folder / CORPUS).read_text())
    assert summary["n_documents"] == len(ODD)
    assert json.loads((project.folder / task).read_text())["n_tried"] > 0
    assert project.plan(CORPUS, task) == {}
    # Files with braces cannot be inputs of a rule, and a change of them is noticed all the same.
    for name in ("a b", "{model}"):
        with open(tmp_path / "odd" / name / f"{name}.txt", "a", encoding="utf-8") as file:
            file.write(" the cat")
        assert project.plan(CORPUS) == {"tokenise_corpus": 1}
        project.run(CORPUS)
    with open(tmp_path / "odd/{model}/{x} model's/config.json", "a", encoding="utf-8") as file:
        file.write("\n")
    assert "import_model" in project.plan(CORPUS)


def test_relative_paths_are_also_those_of_the_configuration(fresh, tmp_path):
    elsewhere = tmp_path / "con fig's"
    elsewhere.mkdir()
    for name in ("config.yaml", "text.txt", "prompts.jsonl"):
        shutil.move(fresh.folder / name, elsewhere / name)
    arguments = ("--configfile", str(elsewhere / "config.yaml"))
    assert fresh.plan(*arguments)["build_corpus"] == 1
    # A file where Snakemake runs comes first; one that is nowhere is named, with the rule.
    (fresh.folder / "text.txt").touch()
    assert "text.txt is empty" in fresh.snakemake("-n", *arguments).stdout
    os.remove(fresh.folder / "text.txt")
    os.remove(elsewhere / "text.txt")
    said = fresh.snakemake("-n", *arguments).stdout
    assert "text.txt does not exist" in said
    assert "in the folder that Snakemake runs in, then in that of the configuration" in said


def test_a_project_in_a_folder_with_braces_is_refused_in_one_sentence(tmp_path):
    said = Project.create(tmp_path / "a {x}", TINY).snakemake("-n").stdout
    assert "braces in the path of a workflow for its own: rename" in said
    assert "Traceback" not in said


def test_the_home_folder(fresh, tmp_path):
    shutil.move(fresh.folder / "text.txt", tmp_path / "text.txt")
    fresh.configure(language_models={"tiny": {"corpus": {"files": ["~/text.txt"]}}})
    result = fresh.snakemake("-n", HOME=str(tmp_path))
    assert result.returncode == 0, result.stdout


@pytest.mark.long
def test_a_model_of_one_layer_in_a_folder_with_blanks(tmp_path):
    project = Project.create(tmp_path / "one layer's project", TINY)
    project.configure(
        language_models={"tiny": {"architecture": {"n_layers": 1}}},
        arms={"shared": {"counts": [1]}, "auto": ["shared"]},
    )
    printed = project.run().stdout
    assert "one SAE per layer, trained in full" in printed
    assert (project.folder / "results/tiny/figures/layer_distances.svg").is_file()
