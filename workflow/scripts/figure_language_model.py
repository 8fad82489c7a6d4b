"""Draw how the language model learned."""

from clustersae.presentation import style
from clustersae.presentation.tables import read_file
from clustersae.pretraining import figure as language_model
from clustersae.pretraining.published import MEANS, METRICS
from clustersae.runtime import job


def main(curves: str, published: str | None, model: str, svg: str, png: str) -> None:
    """Write the figure of `tables/learning_curves.csv`, beside the run named `published`."""
    known = dict(zip(METRICS, MEANS[published]))["best_val_loss"] if published else None
    figure = language_model.draw(read_file(curves), model, known)
    with style.styled():
        style.save(figure, svg, png)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        curves=snakemake.input.curves,
        published=snakemake.params.published,
        model=snakemake.wildcards.model,
        svg=snakemake.output.svg,
        png=snakemake.output.png,
    )
