"""Tokenise and split the text that a model reads."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from clustersae.corpora.build import build
from clustersae.corpora.tokenizer import save_tokenizer
from clustersae.corpora.tokens import write_tokens
from clustersae.runtime import log
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import replacing, write_json

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger(__name__)


class CorpusFiles(NamedTuple):
    """Where the parts of a corpus are written; None for what it does not have."""

    train: Path
    validation: Path
    test: Path
    summary: Path
    tokenizer: Path | None = None  # where the tokenizer is made here
    tokenizer_config: Path | None = None
    factors: Path | None = None  # toy English only


def main(
    files: CorpusFiles,
    settings: dict[str, Any],
    n_ctx: int,
    model_dir: Path | None,
    asked: dict[str, list] | None = None,
) -> None:
    """Build a corpus and write it.

    Args:
        settings: the `corpus` section of the configuration.
        n_ctx: tokens in a row.
        model_dir: the model whose tokenizer to use; None for a model that is trained here.
        asked: (split, tokens) by the configuration's key: what the experiment will read.

    Raises:
        InputError: the text cannot be read, or there is less of it than is asked for.
    """
    corpus = build(settings, n_ctx, model_dir)
    summary = corpus.summary()
    for key, (split, n_tokens) in (asked or {}).items():
        require_tokens(split, summary["n_tokens"][split], n_tokens, key)
    for split in corpus.rows:
        write_tokens(getattr(files, split), corpus.token_file(split))
    if files.tokenizer and files.tokenizer_config:
        save_tokenizer(corpus.loaded, files.tokenizer, files.tokenizer_config)
    if files.factors and corpus.factors is not None:
        _write_parquet(corpus.factors, files.factors)
    write_json(files.summary, summary)
    logger.info("%s: %s rows, %s tokens", corpus.source, summary["n_rows"], summary["n_tokens"])


def require_tokens(split: str, available: int, asked: int, key: str) -> None:
    """Raise an InputError if a split has fewer tokens than the configuration asks for."""
    if available < asked:
        raise InputError(
            f"The {split} split has {available} tokens and {key} asks for {asked}: ask for at most"
            f" {available}, or make the corpus larger."
        )


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    model_config = snakemake.input.get("config")  # of an imported model
    main(
        CorpusFiles(**{name: Path(path) for name, path in snakemake.output.items()}),
        settings={**snakemake.params.corpus, "cache": snakemake.params.get("cache")},
        n_ctx=snakemake.params.n_ctx,
        model_dir=Path(model_config).parent if model_config else None,
        asked=snakemake.params.asked,
    )
