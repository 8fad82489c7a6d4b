"""Let a model have files of another one: the same files, or copies where a link cannot be."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clustersae.runtime import log
from clustersae.runtime.files import replacing

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(sources: Sequence[Path], destinations: Sequence[Path]) -> None:
    """Link every destination to the content of its source; none is ever written to in place."""
    for source, destination in zip(sources, destinations, strict=True):
        with replacing(destination) as temporary:
            Path(temporary).unlink(missing_ok=True)
            try:
                os.link(source, temporary)
            except OSError:  # another file system, or one without links
                shutil.copy2(source, temporary)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(list(map(Path, snakemake.input)), list(map(Path, snakemake.output)))
