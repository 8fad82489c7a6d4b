"""The log of faults as a table of kinds by outcome, in Markdown.

PYTHONPATH=workflow/scripts:tests python -m faults.summary docs/results/faults/faults.csv
"""

import sys
from collections import Counter
from pathlib import Path

from faults.inject import logged


def main(log: Path) -> str:
    """One row per kind, one column per outcome, and how many runs there were."""
    rows = logged(log)
    counts = Counter((row["kind"], row["outcome"]) for row in rows)
    kinds, outcomes = (sorted({key[index] for key in counts}) for index in (0, 1))
    lines = [["fault", "number", *outcomes], ["---", *["---:"] * (1 + len(outcomes))]]
    for kind in kinds:
        numbers = [counts[kind, outcome] for outcome in outcomes]
        lines.append([kind, *(str(number or "") for number in (sum(numbers), *numbers))])
    totals = [sum(counts[kind, outcome] for kind in kinds) for outcome in outcomes]
    lines.append(["all", *map(str, (len(rows), *totals))])
    ends = Counter(row["run"] for row in {row["seed"]: row for row in rows}.values())
    told = "; ".join(f"{number} ended {end}" for end, number in sorted(ends.items()))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\nRuns: {told}.\n"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
