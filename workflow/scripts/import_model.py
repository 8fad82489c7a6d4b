"""Import a pretrained language model from a directory, a GGUF file or the Hugging Face Hub."""

from pathlib import Path

import torch

from clustersae.models.importing import import_model
from clustersae.runtime import job

if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    import_model(
        snakemake.params.path or snakemake.params.repo,
        Path(snakemake.output.description).parent,
        on_hub=snakemake.params.path is None,
        revision=snakemake.params.revision,
        trust_remote_code=snakemake.params.trust_remote_code,
        dtype=snakemake.params.dtype,
        device_map=snakemake.params.device_map,
    )
