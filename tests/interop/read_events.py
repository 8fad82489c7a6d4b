"""What TensorBoard reads from a folder of event files.

    python tests/interop/read_events.py FOLDER OUTPUT

OUTPUT gets (step, value) of every scalar as JSON. Runs in the peers' environment.
"""

import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main(folder: str, output: str) -> None:
    read = EventAccumulator(folder)
    read.Reload()
    tags = read.Tags()["scalars"]
    found = {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in tags}
    Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
