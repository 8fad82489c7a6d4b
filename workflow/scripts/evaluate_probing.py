"""How well a few latents of an arm's SAEs tell labels of tokens; or the activations themselves."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from clustersae.activations.shards import open_shards
from clustersae.corpora.tokens import read_tokens
from clustersae.latents.groups import groups_of, read_trained
from clustersae.latents.sequences import Text, read_text
from clustersae.probing.labels import Labelled, factor_labels, find_labels, text_labels
from clustersae.probing.probes import PROBE_COLUMNS, dense_probe_rows, sparse_probe_rows
from clustersae.runtime import device, job, log
from clustersae.runtime.files import replacing
from clustersae.sae.storage import load_sae

#: The splits that probes are fitted to and judged on.
SPLITS = ("validation", "test")
COLUMNS = ["variant", "partition", "seed", *PROBE_COLUMNS]


class Files(NamedTuple):
    """What labels and activations are made from."""

    shards: Mapping[str, Sequence[Path]]  # by split
    tokens: Mapping[str, Path]  # by split
    tokenizer: Path
    factors: Path | None  # of toy English


def main(
    saes: Sequence[Path],
    files: Files,
    variant: str,
    partition: str,
    output: Path,
    n_text: int,
    n_tokens: int,
    seed: int,
    where: torch.device,
) -> None:
    """Write one row per seed, layer, label and number of latents.

    Args:
        saes: folders of the SAEs that serve the layers, every seed of each; without any the
            activations of all layers are probed, whose rows have an empty arm and seed.
        n_text: tokens of each split among which labels are looked for, in whole sequences.
        n_tokens: that a probe is fitted to, and judged on, at most.
    """
    train, test, labels = materials(files, n_text, n_tokens, seed)
    rows = _of_saes(saes, train, test, labels, where) if saes else _of_stream(train, test, labels)
    label = {"variant": variant, "partition": partition}
    frame = pd.DataFrame([label | row for row in rows], columns=COLUMNS)
    with replacing(output) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def materials(
    files: Files, n_text: int, n_tokens: int, seed: int
) -> tuple[Text, Text, list[Labelled]]:
    """The tokens of both splits that some label has drawn, and the labels with places in them."""
    texts, found = {}, []
    for split in SPLITS:
        shards, tokens = open_shards(files.shards[split]), read_tokens(files.tokens[split])
        texts[split] = read_text(shards, tokens, n_text, seed)
        found.append(text_labels(texts[split], tokens, files.tokenizer))
    if files.factors is not None:
        factors = factor_labels(pd.read_parquet(files.factors), texts, SPLITS)
        found = [own | more for own, more in zip(found, factors)]
    labels = find_labels(found[0], found[1], n_tokens, np.random.default_rng(seed))
    used = [
        np.unique(np.concatenate([np.zeros(0, np.int64), *places]))
        for places in ([each.train for each in labels], [each.test for each in labels])
    ]
    moved = [
        each._replace(
            train=np.searchsorted(used[0], each.train), test=np.searchsorted(used[1], each.test)
        )
        for each in labels
    ]
    train, test = (
        texts[split].where(np.isin(np.arange(len(texts[split])), places))
        for split, places in zip(SPLITS, used)
    )
    return train, test, moved


def _of_saes(
    saes: Sequence[Path], train: Text, test: Text, labels: list[Labelled], where: torch.device
) -> list[dict[str, Any]]:
    groups = groups_of(read_trained(folder) for folder in saes)
    members = [(group.seed, trained) for group in groups for trained in group.saes]
    progress = log.Progress("Probing latents, by layer", sum(len(t.layers) for _, t in members))
    rows = []
    for seed, of_seed in groupby(members, key=lambda member: member[0]):
        for _, trained in of_seed:
            sae = load_sae(trained.folder, where, train.fingerprint)
            for layer in trained.layers:
                codes = [text.encode(sae, layer).activations for text in (train, test)]
                found = sparse_probe_rows(layer, codes[0], codes[1], labels)
                rows += [{"seed": seed} | row for row in found]
                progress.update()
    progress.close()
    return rows


def _of_stream(train: Text, test: Text, labels: list[Labelled]) -> list[dict[str, Any]]:
    layers = train.shards[0].layers
    progress = log.Progress("Probing activations, by layer", len(layers))
    rows: list[dict[str, Any]] = []
    for layer in layers:
        x, other = (torch.cat(list(text.blocks(layer))).numpy() for text in (train, test))
        rows += dense_probe_rows(layer, x, other, labels)
        progress.update()
    progress.close()
    return rows


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        saes=[Path(path).parent for path in snakemake.input.get("saes", [])],
        files=Files(
            {split: [Path(path) for path in snakemake.input[split]] for split in SPLITS},
            {split: Path(snakemake.input[f"{split}_tokens"]) for split in SPLITS},
            Path(snakemake.input.tokenizer),
            Path(snakemake.input.factors[0]) if snakemake.input.factors else None,
        ),
        variant=snakemake.wildcards.get("variant", ""),
        partition=snakemake.wildcards.get("partition", ""),
        output=Path(snakemake.output[0]),
        n_text=snakemake.params.n_text,
        n_tokens=snakemake.params.n_tokens,
        seed=snakemake.params.seed,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
