"""From the records of the stages to docs/results/gpu/CARD: a page, tables and figures."""

import re
import shutil
from pathlib import Path
from typing import Any

import draw

from clustersae.runtime.errors import InputError
from clustersae.runtime.files import read_json, write_text
from gpu.record import DONE
from gpu.stages import STAGES, Stage

#: Figures of an experiment: argument → table, below the folder of its tables.
FIGURES = {
    "specialise": {"arms": "arms.csv", "comparisons": "comparisons.csv"},
    "quality_cost": {"arms": "arms.csv"},
    "layer_fvu": {"quality": "layer_quality.csv", "arms": "arms.csv"},
    "training_curves": {
        **{"training": "training.csv", "quality": "layer_quality.csv", "arms": "arms.csv"}
    },
}
WITH_MARGINS = ("specialise", "quality_cost")
#: Tables that are kept; the rest is for figures.
KEPT = (
    *("arms.csv", "comparisons.csv", "layers.csv", "cost.csv", "stream.csv", "verdict.txt"),
    "partitions.json",
    *("plan.json", "seeds.csv"),
)


def write(records: Path, docs: Path) -> Path:
    """Write the page of what stands in `records`; its path.

    Raises:
        InputError: there are no records, or they are of several machines.
    """
    found = {
        stage: read_json(records / stage.file)
        for stage in STAGES
        if (records / stage.file).is_file()
    }
    measured = {stage: each for stage, each in found.items() if "machine" in each}
    if not measured:
        raise InputError(f"{records} holds no record of a stage: run run.py run first.")
    cards = {each["machine"]["device"] for each in measured.values()}
    if len(cards) > 1:
        raise InputError(
            f"{records} holds records of {', '.join(sorted(cards))}: write one report for each."
        )
    (card,) = cards
    folder = docs / re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    for stage, content in measured.items():
        _write_files(stage, content, folder)
    page = [f"# Measured on {card}", "", *_machine(measured), "", *_goals(found), ""]
    for stage, content in found.items():
        page += [f"## {stage.letter}. {stage.title}", "", *_section(stage, content, folder), ""]
    write_text(folder / "README.md", "\n".join(page).rstrip() + "\n")
    return folder / "README.md"


def _machine(measured: dict[Stage, dict[str, Any]]) -> list[str]:
    facts = next(iter(measured.values()))["machine"]
    named = ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
    return [
        f"Machine: {named}.",
        "",
        "Made by `python tests/gpu/run.py run`, written by `run.py report`"
        " ([how](../../../gpu.md)). Sizes and limits of the stages: `tests/gpu/full.yaml`.",
    ]


def _goals(found: dict[Stage, dict[str, Any]]) -> list[str]:
    """What was to be reached on an H200, and what was."""
    by_letter = {stage.letter: content for stage, content in found.items()}
    rows = [["goal (for one H200)", "asked", "found", ""]]

    def add(name: str, asked: str, value: float, met: bool) -> None:
        rows.append([name, asked, f"{value:,.4g}", "met" if met else "missed"])

    for each in by_letter.get("b", {}).get("compared", []):
        step = f"SAE step, {each['shape']}"
        if "times_faster" in each:
            add(
                f"{step}: times faster than the fastest peer",
                "≥ 3",
                each["times_faster"],
                each["goal_met"],
            )
        add(
            f"{step}: times the floor", "≤ 2", each["against_floor"], each["within_twice_the_floor"]
        )
    for name, each in by_letter.get("c", {}).get("goals", {}).items():
        more = name == "tokens_per_second"
        met = each["found"] >= each["goal"] if more else each["found"] <= each["goal"]
        sign = "≥" if more else "≤"
        title = f"shakespeare_char: {name.replace('_', ' ')}"
        add(title, f"{sign} {each['goal']:,g}", each["found"], met)
    for name, each in by_letter.get("d", {}).get("trainings", {}).items():
        add(
            f"{name}: seconds of a training",
            f"≤ {each['goal_seconds']:g}",
            each["extrapolated_seconds"],
            each["goal_met"],
        )
    for name, each in by_letter.get("e", {}).get("caching", {}).items():
        add(
            f"caching ({name}), of the forward pass",
            f"≥ {each['goal']:g}",
            each["ratio"],
            each["goal_met"],
        )
    return _table(rows) if len(rows) > 1 else []


def _section(stage: Stage, content: dict[str, Any], folder: Path) -> list[str]:
    status = content.get("status", "")
    lines = [] if status == DONE else [f"**{status[:1].upper()}{status[1:]}.**", ""]
    if content.get("error"):
        lines += [f"`{content['error']}`", ""]
    lines += [f"{_use(content)}", ""] if "use" in content else []
    writer = _SECTIONS.get(stage.letter)
    if writer:
        lines += writer(content)
    if content.get("summary") and stage.letter in "efg":
        lines += ["```", *content["summary"], "```"]
    for figure in FIGURES:
        if (folder / stage.name / f"{figure}.png").is_file():
            lines += ["", f"![{figure}]({stage.name}/{figure}.png)"]
    return lines


def _use(content: dict[str, Any]) -> str:
    use, precision = content["use"], content.get("precision", {})
    parts = [f"{content.get('spent_seconds', 0):.0f} s"]
    parts += [f"products of float32 in {precision['float32_products']}"] if precision else []
    if "peak_gpu_memory_mb" in use:
        parts.append(f"{use['peak_gpu_memory_mb']:,} MiB of GPU memory at most")
    for key, unit in (("watts", "W"), ("sm_mhz", "MHz")):
        if key in use:
            parts.append(
                f"{use[key]['median']:.0f} {unit} (median), {use[key]['largest']:.0f} at most"
            )
    return "; ".join(parts) + "."


def _tests(content: dict[str, Any]) -> list[str]:
    rows = [["test", "outcome", "error", "allowed"]]
    for name, each in content.get("tests", {}).items():
        errors = [value for key, value in each.items() if key.endswith("relative error")]
        bits = [value for key, value in each.items() if key.endswith("other bits")]
        allowed = [value for key, value in each.items() if key.endswith("allowed")]
        worst = f"{max(errors):.1e}" if errors else ""
        if bits:
            worst = "other bits" if any(bits) else "same bits"
        rows.append([name, each["outcome"], worst, f"{max(allowed):g}" if allowed else ""])
    return _table(rows)


def _steps(content: dict[str, Any]) -> list[str]:
    lines = []
    for name, found in content.get("shapes", {}).items():
        rows = [["step", "ms", "least to most"]]
        for key, each in found.items():
            if "median" in each:
                spread = f"{each['least']:.3f} to {each['largest']:.3f}"
                rows.append([key, f"{each['median']:.3f}", spread])
            elif "missing" in each:
                rows.append([key, "failed", each["missing"][:80]])
        floor = found["floor"]
        lines += [
            f"{name}; the encoder's product in bfloat16 takes"
            f" {floor['encoder_product_bfloat16']:.3f} ms, one write of the pre-activations"
            f" {floor['write_float32']:.3f} ms:",
            "",
            *_table(rows),
            "",
        ]
    lines += [f"- {line}" for line in content.get("summary", [])]
    for peer, each in content.get("left_out", {}).items():
        lines.append(f"- left out: {peer}, {each['missing']}")
    return lines


def _characters(content: dict[str, Any]) -> list[str]:
    return ["```", content.get("text", "").rstrip(), "```"]


def _speed(content: dict[str, Any]) -> list[str]:
    rows = [["model", "ms per step", "s in all, extrapolated", "published, s", "ratio", "goal, s"]]
    for name, each in content.get("trainings", {}).items():
        rows.append(
            [
                *(
                    name,
                    f"{each['milliseconds_per_step']:.3f}",
                    f"{each['extrapolated_seconds']:.0f}",
                ),
                *(str(each["published_seconds"]), f"{each['ratio'] or 0:.3f}"),
                f"{each['goal_seconds']:.0f} ({'met' if each['goal_met'] else 'missed'})",
            ]
        )
    return _table(rows)


def _real(content: dict[str, Any]) -> list[str]:
    rows = [["model runs in", "forward pass, tokens/s", "caching, tokens/s", "ratio", "goal"]]
    for name, each in content.get("caching", {}).items():
        rows.append(
            [
                *(name, f"{each['forward_tokens_per_second']:,.0f}"),
                *(f"{each['caching_tokens_per_second']:,.0f}", f"{each['ratio']:.2f}"),
                f"{each['goal']} ({'met' if each['goal_met'] else 'missed'})",
            ]
        )
    return [*_table(rows), ""]


_SECTIONS = {"a": _tests, "b": _steps, "c": _characters, "d": _speed, "e": _real}


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return [head, f"|{'---|' * len(rows[0])}", *body]


def _write_files(stage: Stage, content: dict[str, Any], folder: Path) -> None:
    """Tables of the record, and figures drawn from them."""
    files = content.get("files", {})
    if not files:
        return
    own, tables = folder / stage.name, folder / stage.name / "all"
    for name, text in files.items():
        write_text(tables / name, text)
        if name in KEPT:
            write_text(own / name, text)
    for name, arguments in FIGURES.items():
        if not set(arguments.values()) <= set(files):
            continue
        options = {"margins": content["margins"]} if name in WITH_MARGINS else {}
        draw.main(
            f"clustersae.quality.figure_{name}",
            {argument: str(tables / file) for argument, file in arguments.items()},
            options,
            content["model"],
            str(tables / f"{name}.svg"),
            str(own / f"{name}.png"),
        )
    shutil.rmtree(tables)
