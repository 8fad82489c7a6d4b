"""The command line: `clustersae init` writes a first configuration for a model of one's own."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clustersae.runtime.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 1 after an error that was named."""
    parser = argparse.ArgumentParser(prog="clustersae", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser(
        "init",
        help="write a configuration scaled to a model and a text, and say what it will cost",
        description="Look at a model and a text, write a commented configuration scaled to them,"
        " and say what it will cost. Nothing is trained, and no weights are loaded.",
    )
    init.add_argument(
        "--model",
        required=True,
        help="a Hugging Face directory, a GGUF file, or a repository of the Hub (OWNER/NAME)",
    )
    init.add_argument(
        "--text",
        required=True,
        nargs="+",
        help="text or JSON Lines files, or a folder of text files; or one dataset, a folder or of"
        " the Hub (OWNER/NAME)",
    )
    init.add_argument("--field", help="field of the text in JSON Lines and datasets")
    init.add_argument("--output", type=Path, help="what to write; by default MODEL.yaml")
    init.add_argument("--force", action="store_true", help="replace the file if it exists")
    given = parser.parse_args(arguments)
    from clustersae.setup.command import init as run  # torch takes a second to import

    try:
        print(run(given.model, given.text, given.output, given.field, given.force))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
