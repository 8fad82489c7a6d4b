"""What the latents of an arm's SAEs mean, and whether a shared one means the same on every layer.

One job per arm, all seeds. Rules are fitted and latents chosen on text of the validation split;
everything that is reported was measured on text of the test split.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from clustersae.activations.shards import open_shards
from clustersae.corpora.tokens import read_tokens
from clustersae.features.baseline import Baseline
from clustersae.features.contexts import SCHEMA
from clustersae.features.coverage import COVERAGE_COLUMNS, coverage_rows
from clustersae.features.matched import Alone, matched_rows
from clustersae.features.measuring import FeatureSettings, measure_group, prepare
from clustersae.latents.decoders import Decoders
from clustersae.latents.groups import groups_of, read_trained
from clustersae.latents.sequences import Text, read_text
from clustersae.runtime import device, job
from clustersae.runtime.files import replacing
from clustersae.runtime.log import Progress


class Split(NamedTuple):
    """The files of one split."""

    shards: Sequence[Path]
    tokens: Path

    def read(self, n_tokens: int, seed: int, fingerprint: str | None = None) -> Text:
        shards = open_shards(self.shards, fingerprint)
        return read_text(shards, read_tokens(self.tokens), n_tokens, seed)


class Outputs(NamedTuple):
    """The files that are written."""

    latents: Path
    layers: Path
    contexts: Path
    rules: Path
    meaning: Path
    kept: Path
    sweep: Path
    similarity: Path
    coverage: Path


def main(
    saes: Sequence[Path],
    baseline: Sequence[Path],
    validation: Split,
    test: Split,
    tokenizer: Path,
    factors: Path | None,
    variant: str,
    partition: str,
    outputs: Outputs,
    settings: FeatureSettings,
    seed: int,
    where: torch.device,
) -> None:
    """Write spread, contexts, rules, meaning, similarity and coverage of the latents of an arm.

    Args:
        saes: folders of the SAEs that serve the layers in the arm; every seed of each.
        baseline: folders of all per-layer SAEs.
        tokenizer: tokenizer.json, which says what tokens look like.
        factors: factors.parquet, where the text is toy English; without it coverage has no rows.
        seed: of the choice of text and of everything random.
    """
    text = test.read(settings.tokens, seed)
    fitted = validation.read(settings.tokens, seed, text.fingerprint)
    table = None if factors is None else pd.read_parquet(factors)
    material = prepare(fitted, text, tokenizer, table, settings, seed)
    per_layer = Baseline([read_trained(folder) for folder in baseline], text, where)
    groups = groups_of(read_trained(folder) for folder in saes)

    frames: dict[str, list[pd.DataFrame]] = {
        name: [] for name in Outputs._fields if name != "contexts"
    }
    progress = Progress("Measuring groups of latents", len(groups))
    with parquet_writer(outputs.contexts) as write:
        # Groups come by seed, and all groups of a seed compete for coverage.
        for own_seed, found in groupby(groups, key=lambda group: group.seed):
            of_seed = list(found)
            label = {"variant": variant, "partition": partition, "seed": own_seed}
            candidates, alone = [], dict[int, Alone]()
            for group in of_seed:
                measured = measure_group(group, material, per_layer, label, write, where)
                candidates += measured.candidates
                alone |= measured.alone
                for name, frame in measured.tables.items():
                    frames[name].append(labelled(frame, label))
                progress.update()
            if len(alone) == len(of_seed) > 1:  # an arm of per-layer SAEs, all of them
                generator = np.random.default_rng([seed, own_seed])
                sweep = pd.DataFrame(matched_rows(alone, Decoders(where), generator))
                sweep.insert(0, "group", "per-layer")
                frames["sweep"].append(labelled(sweep, label))
            known = material.predicates if candidates else None
            rows = [] if known is None else coverage_rows(candidates, known)
            frame = pd.DataFrame(rows, columns=COVERAGE_COLUMNS)
            frames["coverage"].append(labelled(frame, label))
    progress.close()
    for name, parts in frames.items():
        write_frame(pd.concat(parts, ignore_index=True), getattr(outputs, name))


def labelled(frame: pd.DataFrame, label: dict[str, str | int]) -> pd.DataFrame:
    """`frame` with the columns of `label` in front."""
    for place, (name, value) in enumerate(label.items()):
        frame.insert(place, name, value)
    return frame


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as its file's name says: CSV with full precision, or Parquet."""
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            frame.to_csv(temporary, index=False, lineterminator="\n")
        else:
            frame.to_parquet(temporary, index=False, compression="zstd")


@contextmanager
def parquet_writer(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """A function that adds contexts to a Parquet file, which appears when all are written."""
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file,
    ):
        yield file.write_table


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        saes=[Path(path).parent for path in snakemake.input.saes],
        baseline=[Path(path).parent for path in snakemake.input.baseline],
        validation=Split(
            [Path(path) for path in snakemake.input.validation],
            Path(snakemake.input.validation_tokens),
        ),
        test=Split([Path(path) for path in snakemake.input.test], Path(snakemake.input.tokens)),
        tokenizer=Path(snakemake.input.tokenizer),
        factors=Path(snakemake.input.factors[0]) if snakemake.input.factors else None,
        variant=snakemake.wildcards.variant,
        partition=snakemake.wildcards.partition,
        outputs=Outputs(*(Path(snakemake.output[name]) for name in Outputs._fields)),
        settings=FeatureSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
