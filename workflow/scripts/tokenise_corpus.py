"""Read a text with the tokenizer of a model, and split it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.corpora.build import CorpusFiles, layout_of, packed
from clustersae.corpora.packing import Layout
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.runtime import job


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
        InputError: the text cannot be read, there is less of it than is asked for, or it has
            tokens that the model lacks.
    """
    loaded = model_tokenizer(model_dir)
    layout = Layout.NONE if settings["tokenised"] else layout_of(settings["bos"], loaded)
    corpus = packed(settings, settings["n_ctx"], loaded, layout, settings["shuffle"])
    corpus.write(files, asked)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        CorpusFiles(*(Path(snakemake.output[name]) for name in CorpusFiles._fields)),
        settings=snakemake.params.corpus,
        model_dir=Path(snakemake.input.description).parent,
        asked=snakemake.params.asked,
    )
