"""A question is one folder, one file of rules and one line of the Snakefile: it can be removed."""

import shutil

import pytest
from snakemake_project import Project

#: What the answer is put together by, and shown with.
ANSWER = {"verdict", "summary_table", "report_page", "figure"}


def remove(project: Project, question: str) -> None:
    (project.folder / "workflow" / "rules" / f"{question}.smk").unlink()
    shutil.rmtree(project.folder / "workflow" / "scripts" / "clustersae" / question)
    project.edit("Snakefile", f'include: "workflow/rules/{question}.smk"\n', "")


@pytest.mark.parametrize("question", ["correspondence", "transfer", "features", "probing"])
def test_without_a_question_only_the_answer_is_put_together_anew(question, finished):
    if question == "features":  # which the browser shows
        remove(finished, "browser")
        finished.configure(browser={"arms": []})
    remove(finished, question)
    planned = finished.plan()
    # Correspondence is asked of specialised SAEs, of which this experiment has none.
    assert ("report_page" in planned) == (question != "correspondence")
    assert set(planned) <= ANSWER


def test_without_circuits_the_verdict_says_nothing_of_them(finished):
    verdict = finished.folder / "results" / "tiny" / "tables" / "verdict.txt"
    before = verdict.read_text(encoding="utf-8").splitlines()
    remove(finished, "circuits")
    assert set(finished.plan()) <= ANSWER
    finished.run()
    kept = [line for line in before if not line.startswith("Circuits")]
    assert len(kept) == len(before) - 1
    assert verdict.read_text(encoding="utf-8").splitlines() == kept
