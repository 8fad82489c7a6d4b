"""Measure how fast a language model that was trained here writes text."""

from pathlib import Path
from typing import cast

import torch
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

from clustersae.corpora.toy_lexicon import BOS
from clustersae.models.loading import load_pretrained
from clustersae.pretraining.generation import measure
from clustersae.runtime import device, job
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_json


def main(model_dir: Path, record: Path, seed: int, where: torch.device) -> None:
    """Write tokens per second of generation from a blank on, and the first sample.

    Args:
        model_dir: of a GPT-2, with its tokenizer.
        record: JSON; `avg_inference_tokens_per_second` is what the published record calls so.
        seed: of the samples.
    """
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    start = blank(tokenizer)
    model = cast(GPT2LMHeadModel, load_pretrained(model_dir, device=where))
    speed = measure(model, start, seed, tokenizer.token_to_id(BOS))
    speed["first_sample"] = tokenizer.decode(speed["first_sample"], skip_special_tokens=False)
    on_gpu = where.type == "cuda"
    write_json(
        record,
        {
            "avg_inference_tokens_per_second": speed["window_of_the_last_tokens"][
                "avg_tokens_per_second"
            ],
            "device_name": torch.cuda.get_device_name(where) if on_gpu else "cpu",
            "n_threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "seed": seed,
            **speed,
        },
    )


def blank(tokenizer: Tokenizer) -> list[int]:
    """What generation starts from, as in the published run: one blank."""
    token = tokenizer.token_to_id(" ")
    if token is None:
        raise InputError(
            "training.record measures generation from a blank, and the tokenizer of this corpus"
            " has no token for one: set training.record to false."
        )
    return [token]


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.weights).parent,
        record=Path(snakemake.output[0]),
        seed=snakemake.params.seed,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
