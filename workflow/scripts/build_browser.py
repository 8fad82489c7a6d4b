"""Make the feature browser: a page, and its data in pieces that it loads when they are needed."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

import clustersae.browser
from clustersae.browser.details import Group, chunk_size, chunks, read_contexts
from clustersae.browser.groups import Shown, shown_groups
from clustersae.browser.index import index_columns, peak_words
from clustersae.browser.pieces import number, write_piece
from clustersae.experiment.plan import Plan, read_plan
from clustersae.presentation.tables import read_file
from clustersae.runtime import log
from clustersae.runtime.files import replacing
from clustersae.runtime.log import Progress

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

PAGE = Path(clustersae.browser.__file__).parent / "page"
JUDGE = ("variant", "partition", "seed", "cluster", "latent", "layer", "kind")
JUDGE_VALUES = ("explained_on", "balanced_accuracy", "explanation")


class Measured(NamedTuple):
    """Files of the features of one arm."""

    latents: Path
    layers: Path
    contexts: Path
    rules: Path
    meaning: Path
    coverage: Path


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
    scores = pd.concat([_no_scores(), *map(read_scores, judge)])
    entries: list[dict[str, Any]] = []
    progress = Progress("Writing groups of latents", len(groups))
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".data.", dir=folder) as temporary:
        data = Path(temporary) / "data"
        for group in groups:
            files = measured[group.variant, group.partition]
            entries.append(
                write_group(group, files, directions, scores, seed, data, size, n_contexts)
            )
            progress.update()
        spaced = any(entry.pop("spaced") for entry in entries)
        catalogue = {
            **{"model": model, "seed": seed, "chunk": size, "groups": entries},
            "separator": "" if spaced else " ",
        }
        write_piece(data, "catalogue", catalogue)
        shutil.rmtree(folder / "data", ignore_errors=True)
        data.rename(folder / "data")
    progress.close()
    for file in PAGE.iterdir():
        with replacing(folder / file.name) as temporary_file:
            shutil.copyfile(file, temporary_file)


def write_group(
    group: Shown,
    files: Measured,
    directions: Path,
    scores: pd.DataFrame,
    seed: int,
    data: Path,
    size: int,
    n_contexts: int,
) -> dict[str, Any]:
    """Write the pieces of one group; what the catalogue says of it."""
    own = {"group": group.group, "seed": seed}
    latents = read_rows(files.latents, own)
    by_layer = read_rows(files.layers, own)
    rules = read_rows(files.rules, own)
    meaning = of_group(read_file(files.meaning).astype({"group": str}), own)
    coverage = of_group(read_file(files.coverage).astype({"group": str}), own)
    label = dict(zip(("variant", "partition", "group"), group.key))
    written = read_rows(directions, label)
    judged = of_group(scores.rename(columns={"cluster": "group"}), {**label, "seed": seed})
    saes = sorted(set(group.saes.values()))
    filters = [("seed", "==", seed), ("cluster", "in", saes), ("activation", ">", 0)]
    contexts = read_contexts(pq.read_table(files.contexts, filters=filters), n_contexts)

    homes = by_layer.dropna(subset=["p_layer"]).sort_values("p_layer")
    home = homes.drop_duplicates("latent", keep="last").set_index("latent")["layer"]
    at_home = written[written["layer"] == written["latent"].map(home)]
    promoted = {
        latent: list(tokens[:3]) for latent, tokens in zip(at_home["latent"], at_home["promoted"])
    }
    peaks = {latent: peak_words(tokens) for latent, tokens in contexts.peaks()}
    columns = index_columns(
        group.layers, latents, by_layer, rules, coverage, judged, promoted, peaks
    )
    write_piece(data / f"g{group.number}", "index", columns)
    detailed = Group(by_layer, rules, written, judged, contexts)
    written_chunks = []
    for chunk, content in chunks(detailed, size):
        write_piece(data / f"g{group.number}", str(chunk), content)
        written_chunks.append(chunk)
    floors = meaning.set_index(["layer", "other_layer"])["floor"]
    return {
        **{"arm": group.arm, "short": group.short, "title": group.title},
        **{"layers": group.layers, "root": group.root, "chunks": written_chunks},
        "names": [group.saes[layer] for layer in group.layers],
        "variant": group.own_variant,
        "size": len(latents),
        "live": len(columns["latent"]),
        "floor": [
            [number(floors.get((one, other), float("nan"))) for other in group.layers]
            for one in group.layers
        ],
        "spaced": any(" " in word for word in contexts.words),
    }


def read_rows(path: Path, own: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a Parquet file that have these values."""
    return pd.read_parquet(path, filters=[(name, "==", value) for name, value in own.items()])


def of_group(frame: pd.DataFrame, own: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a frame that have these values."""
    for name, value in own.items():
        frame = frame[frame[name] == value]
    return frame


def read_scores(path: Path) -> pd.DataFrame:
    """What a judge says of one arm."""
    return read_file(path, [*JUDGE, *JUDGE_VALUES])


def _no_scores() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object) for name in (*JUDGE, *JUDGE_VALUES)})


if __name__ == "__main__":
    log.to(snakemake.log[0])
    plan = read_plan(snakemake.input.plan)
    kinds = snakemake.params.settings["arms"]
    columns = zip(*(map(Path, snakemake.input[name]) for name in Measured._fields))
    main(
        model=snakemake.wildcards.model,
        plan=plan,
        measured={
            pair: Measured(*files)
            for pair, files in zip(plan.browsed_arms(kinds), columns, strict=True)
        },
        directions=Path(snakemake.input.directions),
        judge=[Path(path) for path in snakemake.input.judge],
        folder=Path(snakemake.output.page).parent,
        kinds=kinds,
        n_contexts=snakemake.params.settings["contexts"],
    )
