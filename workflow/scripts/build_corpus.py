"""Build the text of a language model that is trained here, and the tokenizer that reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.corpora.build import CorpusFiles
from clustersae.corpora.tokenizer import save_tokenizer
from clustersae.pretraining.corpus import build
from clustersae.runtime import job
from clustersae.runtime.files import replacing


def main(
    files: CorpusFiles,
    tokenizer: Path,
    tokenizer_config: Path,
    factors: Path | None,
    settings: Mapping[str, Any],
    n_ctx: int,
    asked: Mapping[str, tuple[str, int]],
) -> None:
    """Build a corpus and write it.

    Args:
        tokenizer, tokenizer_config: of a Hugging Face directory.
        factors: what generated each row, of toy English only.
        settings: the section `corpus`.
        n_ctx: tokens in a row.
        asked: (split, tokens) by the configuration's key: what will be read beside training.

    Raises:
        InputError: the text cannot be read, or there is less of it than is asked for.
    """
    corpus = build(settings, n_ctx)
    corpus.write(files, asked)
    save_tokenizer(corpus.loaded, tokenizer, tokenizer_config)
    if factors and corpus.factors is not None:
        with replacing(factors) as temporary:
            corpus.factors.to_parquet(temporary, index=False)


if __name__ == "__main__":
    job.start(snakemake)
    output = {name: Path(path) for name, path in snakemake.output.items()}
    main(
        CorpusFiles(*(output[name] for name in CorpusFiles._fields)),
        tokenizer=output["tokenizer"],
        tokenizer_config=output["tokenizer_config"],
        factors=output.get("factors"),
        settings={**snakemake.params.corpus, "cache": snakemake.params.cache},
        n_ctx=snakemake.params.n_ctx,
        asked=snakemake.params.asked,
    )
