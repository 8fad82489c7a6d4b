"""`snakemake plan`, and whether a run has the jobs that it has announced."""

import re


def jobs_in(printed: str) -> dict[str, int]:
    """Rule → jobs, from the table."""
    table = printed.partition("\nrule ")[2].partition("\n\n")[0]
    return {
        line.split()[0]: int(line.split()[1].replace(",", "")) for line in table.splitlines()[1:]
    }


def test_a_plan_is_printed_before_anything_is_paid_for(fresh):
    printed = fresh.run("plan").stdout
    assert "tiny: plan" in printed
    assert "clusters are runs of even length here" in printed
    assert "No times" in printed
    results = fresh.folder / "results" / "tiny"
    assert [each.name for each in results.iterdir()] == ["model"]


def test_a_run_has_the_jobs_that_its_plan_announces(finished):
    announced = jobs_in(finished.run("plan").stdout)
    folder = finished.folder / "results" / "benchmarks" / "tiny"
    had = {
        file.stem: 1 if file.is_file() else len(list(file.rglob("*.tsv")))
        for file in folder.iterdir()
    }
    # Circuits are announced for every task, and had for those that the model can do; the control
    # without SAEs has its benchmarks beside those of the arms.
    usable = len(list((folder / "evaluate_circuits").iterdir()))
    circuits = announced.pop("evaluate_circuits") + announced.pop("evaluate_residual_basis")
    assert had.pop("evaluate_circuits") == circuits * usable / announced["assess_task"]
    # Its text is that of the model that is trained; tables and figures are no jobs of a cluster.
    assert announced == {rule: had[rule] for rule in announced}
    left_out = had.keys() - announced.keys()
    local = r"figures|report_page|verdict|make_plan|tables|\w+_tables?"
    assert all(re.fullmatch(local, rule) for rule in left_out), left_out


def test_a_finished_run_says_how_fast_the_machine_is(finished):
    printed = finished.run("plan").stdout
    assert "as measured in the run of tiny on cpu" in printed
    assert "even length" not in printed
