"""Refuse a corpus that is too small for the experiment, before anything long begins."""

from pathlib import Path
from typing import TYPE_CHECKING

from clustersae import log
from clustersae.errors import InputError
from clustersae.files import read_json, write_json

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(summary: Path, output: Path, tokens: dict[str, int], splice_tokens: int) -> None:
    """Write how many tokens each split has and how many are asked for.

    Args:
        summary: corpus.json.
        tokens: activations.tokens, per split.
        splice_tokens: evaluation.splice_tokens, taken from the test split.

    Raises:
        InputError: a split has fewer tokens than the configuration asks for.
    """
    available = read_json(summary)["n_tokens"]
    for split, n_tokens in tokens.items():
        _require(split, available[split], n_tokens, f"activations.tokens.{split}")
    _require("test", available["test"], splice_tokens, "evaluation.splice_tokens")
    write_json(output, {"available": available, "asked": tokens, "spliced": splice_tokens})


def _require(split: str, available: int, asked: int, key: str) -> None:
    if available < asked:
        raise InputError(
            f"The {split} split has {available} tokens and {key} asks for {asked}: ask for at most"
            f" {available}, or make the corpus larger (more text, corpus.rows, corpus.fractions)."
        )


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        summary=Path(snakemake.input[0]),
        output=Path(snakemake.output[0]),
        tokens=snakemake.params.tokens,
        splice_tokens=snakemake.params.splice_tokens,
    )
