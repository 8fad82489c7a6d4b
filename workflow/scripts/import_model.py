"""Import a pretrained language model from a directory or the Hugging Face Hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clustersae.models.importing import import_model
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    source: str, path: str, revision: str | None, output_dir: Path, trust_remote_code: bool
) -> None:
    """Fill `output_dir` with the model and its description (see `import_model`)."""
    import_model(source, path, revision, output_dir, trust_remote_code)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    torch.set_num_threads(snakemake.threads)
    main(
        source=snakemake.params.source,
        path=snakemake.params.path,
        revision=snakemake.params.revision or None,
        output_dir=Path(snakemake.output.description).parent,
        trust_remote_code=snakemake.params.trust_remote_code,
    )
