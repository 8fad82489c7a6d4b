"""Read a text with the tokenizer of a model, and split it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.corpora.build import CorpusFiles, layout_of, packed
from clustersae.corpora.packing import Layout
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.models.description import read_description
from clustersae.runtime import job
from clustersae.runtime.errors import InputError


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
        InputError: rows are longer than what the model reads; the text cannot be read, there is
            less of it than is asked for, or it has tokens that the model lacks.
    """
    n_ctx, most = settings["n_ctx"], read_description(model_dir).n_ctx
    if n_ctx > most:
        raise InputError(f"corpus.n_ctx is {n_ctx}, but the model reads at most {most}: lower it.")
    loaded = model_tokenizer(model_dir)
    layout = Layout.NONE if settings["tokenised"] else layout_of(settings["bos"], loaded)
    corpus = packed(settings, n_ctx, loaded, layout, settings["shuffle"])
    corpus.write(files, asked)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        CorpusFiles(*(Path(snakemake.output[name]) for name in CorpusFiles._fields)),
        settings=snakemake.params.corpus,
        model_dir=Path(snakemake.input.description).parent,
        asked=snakemake.params.asked,
    )
