"""Let a model have a file of another one: the same file, or a copy where a link cannot be."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from clustersae import log
from clustersae.files import replacing

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(source: Path, destination: Path) -> None:
    """Link `destination` to the content of `source`; neither is ever written to in place."""
    with replacing(destination) as temporary:
        Path(temporary).unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, temporary)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(Path(snakemake.input[0]), Path(snakemake.output[0]))
