"""Make the feature browser: a page, and its data in pieces that it loads when they are needed."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import clustersae.browser
from clustersae.browser.details import chunk_size, chunks
from clustersae.browser.groups import Shown, shown_groups
from clustersae.browser.index import index_columns
from clustersae.browser.pieces import number, write_piece
from clustersae.browser.reading import Measured, Rows, read_group, read_scores
from clustersae.experiment.plan import Plan, read_plan
from clustersae.runtime import job
from clustersae.runtime.files import remove_unfinished_below, replacing
from clustersae.runtime.log import Progress

PAGE = Path(clustersae.browser.__file__).parent / "page"


def main(
    model: str,
    plan: Plan,
    measured: Mapping[tuple[str, str], Measured],
    directions: Path,
    judge: Sequence[Path],
    folder: Path,
    kinds: Sequence[str],
    n_contexts: int,
) -> None:
    """Write index.html and what it loads into `folder`.

    Args:
        measured: by (variant, partition).
        directions: by `evaluate_directions.py`.
        judge: what a judge says of arms; none where nobody was asked.
        kinds, n_contexts: `arms` and `contexts` of the section `browser`.
    """
    seed = plan.seeds[0]
    groups = shown_groups(plan, kinds)
    size = chunk_size(max(len(group.layers) for group in groups))
    scores = read_scores(judge)
    entries: list[dict[str, Any]] = []
    spaced = False
    progress = Progress("Writing groups of latents", len(groups))
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished_below(folder)
    with TemporaryDirectory(prefix=".data.", dir=folder) as temporary:
        data = Path(temporary) / "data"
        for group in groups:
            files = measured[group.variant, group.partition]
            rows = read_group(group, files, directions, scores, seed, n_contexts)
            entries.append(write_group(group, rows, data / f"g{group.number}", size))
            spaced |= rows.contexts.spaced
            progress.update()
        # Tokens that bring no spaces are whole words, which stand apart.
        catalogue = {"model": model, "seed": seed, "chunk": size, "groups": entries}
        write_piece(data, "catalogue", {**catalogue, "separator": "" if spaced else " "})
        shutil.rmtree(folder / "data", ignore_errors=True)
        data.rename(folder / "data")
    progress.close()
    for file in PAGE.iterdir():
        with replacing(folder / file.name) as temporary_file:
            shutil.copyfile(file, temporary_file)


def write_group(group: Shown, rows: Rows, folder: Path, size: int) -> dict[str, Any]:
    """Write the pieces of one group; what the catalogue says of it."""
    columns = index_columns(group.layers, rows)
    write_piece(folder, "index", columns)
    written = []
    for chunk, content in chunks(rows, size):
        write_piece(folder, str(chunk), content)
        written.append(chunk)
    floors = rows.meaning.set_index(["layer", "other_layer"])["floor"]
    return {
        **{"arm": group.arm, "short": group.short, "title": group.title},
        **{"layers": group.layers, "root": group.root, "chunks": written},
        "names": [group.saes[layer] for layer in group.layers],
        "variant": group.own_variant,
        "size": len(rows.latents),
        "live": len(columns["latent"]),
        "floor": [
            [number(floors.get((one, other), float("nan"))) for other in group.layers]
            for one in group.layers
        ],
    }


if __name__ == "__main__":
    job.start(snakemake)
    plan = read_plan(snakemake.input.plan)
    kinds = snakemake.params.settings["arms"]
    main(
        model=snakemake.wildcards.model,
        plan=plan,
        measured=Measured.by_arm(plan.browsed_arms(kinds), snakemake.input),
        directions=Path(snakemake.input.directions),
        judge=[Path(path) for path in snakemake.input.judge],
        folder=Path(snakemake.output.page).parent,
        kinds=kinds,
        n_contexts=snakemake.params.settings["contexts"],
    )
