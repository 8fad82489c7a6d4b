"""Read a text with the tokenizer of a model, and split it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustersae.corpora.build import CorpusFiles, packed
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.runtime import log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(
    files: CorpusFiles,
    settings: Mapping[str, Any],
    model_dir: Path,
    asked: Mapping[str, tuple[str, int]],
) -> None:
    """Tokenise a corpus and write it.

    Args:
        settings: the section `corpus`.
        model_dir: the model whose tokenizer to use.
        asked: (split, tokens) by the configuration's key: what the experiment will read.

    Raises:
        InputError: the text cannot be read, or there is less of it than is asked for.
    """
    corpus = packed(settings, settings["n_ctx"], model_tokenizer(model_dir))
    corpus.write(files, asked)


if __name__ == "__main__":
    log.to(snakemake.log[0])
    main(
        CorpusFiles(*(Path(snakemake.output[name]) for name in CorpusFiles._fields)),
        settings=snakemake.params.corpus,
        model_dir=Path(snakemake.input.config).parent,
        asked=snakemake.params.asked,
    )
