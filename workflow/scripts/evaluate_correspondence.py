"""Whether the latents of an arm's SAEs correspond: to what they were, across layers, across seeds.

A specialised arm is compared within each seed, index by index. The per-layer arm says what SAEs
have in common that were trained from scratch. In both, each seed meets the next one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, groupby, starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from clustersae.activations.blocks import layer_blocks
from clustersae.activations.shards import Shard, open_shards
from clustersae.correspondence.codes import Codes
from clustersae.correspondence.measure import (
    independent_rows,
    same_start_rows,
    seed_rows,
    specialised_rows,
)
from clustersae.experiment.clusters import FROM
from clustersae.latents.code import encode_tokens, first_tokens
from clustersae.latents.decoders import Decoders
from clustersae.latents.groups import Trained, read_trained
from clustersae.runtime import device, job, log
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import write_csv
from clustersae.sae.storage import load_sae


class Text(NamedTuple):
    """The tokens that SAEs are compared on."""

    shards: list[Shard]
    n_tokens: int
    where: torch.device
    progress: log.Progress
    decoders: Decoders

    def codes(self, serving: Mapping[int, Trained]) -> Codes:
        """What SAEs make of them, by the layer that each reads; one SAE is held at a time."""
        activations: dict[int, sparse.csr_array] = {}
        for sae, layers in groupby(serving, key=serving.__getitem__):
            activations |= self._activations(sae, layers)
        folders = {layer: sae.folder for layer, sae in serving.items()}
        return Codes(self.decoders, folders, activations)

    def _activations(self, sae: Trained, layers: Iterable[int]) -> dict[int, sparse.csr_array]:
        loaded = load_sae(sae.folder, self.where, self.shards[0].metadata["fingerprint"])
        found = {}
        for layer in layers:
            tokens = first_tokens(layer_blocks(self.shards, layer), self.n_tokens)
            code = encode_tokens(loaded, layer, tokens)
            found[layer] = code.activations
            self.decoders.hold(sae.folder, code.decoder)
            self.progress.update()
        return found


def main(
    saes: list[Path],
    shards: list[Path],
    variant: str,
    partition: str,
    correspondence: Path,
    n_tokens: int,
    seed: int,
    where: torch.device,
) -> None:
    """Write one row per kind, seed, and layer or pair of layers.

    Args:
        saes: folders of the SAEs that serve the layers in the arm and, if it is specialised, of
            the roots that they started from; every seed of each.
        shards: of the test split; its first `n_tokens` tokens are encoded.
        variant, partition: of the arm: a specialised one, or `per-layer`.
        seed: of the random pairings, and of the sample of many layers' pairs.
    """
    trained = [read_trained(folder) for folder in saes]
    leaves = [sae for sae in trained if FROM in sae.name]
    # Roots are read on every layer of their leaves.
    progress = log.Progress("Encoding layers", 2 * len(leaves) or len(trained))
    text = Text(open_shards(shards), n_tokens, where, progress, Decoders(where))
    if FROM in partition:
        found = specialised(trained, text, np.random.default_rng(seed))
    elif all(sae.name.isdigit() for sae in trained):
        found = independent(trained, text, seed)
    else:
        raise InputError(f"Correspondence needs an SAE for every layer, and {partition} has not.")
    rows = [{"variant": variant, "partition": partition} | row for row in found]
    progress.close()
    if not rows:
        raise InputError(f"The SAEs of {partition} leave nothing to compare.")
    write_csv(correspondence, rows)


def specialised(
    saes: list[Trained], text: Text, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """`specialised_rows` of every root and seed, and `seed_rows` of it and the next seed."""
    leaves = [sae for sae in saes if FROM in sae.name and len(sae.layers) == 1]
    for root in sorted({_root(sae) for sae in leaves}):
        family = [sae for sae in leaves if _root(sae) == root]
        family += [sae for sae in saes if (sae.variant, sae.name) == root]
        codes_of = partial(_before_and_now, text, family)
        for each in _with_next({sae.seed for sae in family}, codes_of):
            label = {"seed": each.seed, "root": root[1]}
            before, now = each.codes
            for row in specialised_rows(before, now, generator):
                yield label | {"other_seed": each.seed} | row
            if each.is_new:
                kinds = zip(("root_seed", "specialised_seed"), each.codes, each.others)
                for row in chain.from_iterable(starmap(seed_rows, kinds)):
                    yield label | {"other_seed": each.following} | row


def _before_and_now(text: Text, family: list[Trained], seed: int) -> tuple[Codes, Codes]:
    """By layer, codes of a root and of the SAEs that started from it."""
    own = [sae for sae in family if sae.seed == seed]
    leaves = {sae.layers[0]: sae for sae in own if FROM in sae.name}
    layers = sorted(leaves)
    (root,) = (sae for sae in own if FROM not in sae.name)
    now = text.codes({layer: leaves[layer] for layer in layers})
    return text.codes(dict.fromkeys(layers, root)), now


def independent(saes: list[Trained], text: Text, sample_seed: int) -> Iterator[dict[str, Any]]:
    """Rows of SAEs that started from scratch, one per layer.

    `independent` and `independent_seed` take two seeds, since SAEs of one seed have a random start
    in common; a lone seed has neither.
    """

    def codes_of(seed: int) -> Codes:
        own = {int(sae.name): sae for sae in saes if sae.seed == seed}
        return text.codes({layer: own[layer] for layer in sorted(own)})

    for each in _with_next({sae.seed for sae in saes}, codes_of):
        for row in same_start_rows(each.codes):
            yield {"seed": each.seed, "other_seed": each.seed, "root": ""} | row
        if each.following == each.seed:
            continue
        pair = {"seed": each.seed, "other_seed": each.following, "root": ""}
        # Another sample for every seed, so that its error shows between seeds.
        generator = np.random.default_rng([sample_seed, each.seed])
        for row in independent_rows(each.codes, each.others, generator):
            yield pair | row
        if each.is_new:
            for row in seed_rows("independent_seed", each.codes, each.others):
                yield pair | row


def _root(sae: Trained) -> tuple[str, str]:
    """(variant, name) of the SAE at the end of the ancestry."""
    return sae.variant.rpartition(FROM)[2], sae.name.rpartition(FROM)[2]


class Neighbours(NamedTuple):
    """A seed and the one after it, with what SAEs make of the text; the last meets the first.

    Attributes:
        is_new: whether two seeds meet for the first time: of two the second meets the first again,
            and a lone one meets itself.
    """

    seed: int
    codes: Any
    following: int
    others: Any
    is_new: bool


def _with_next(seeds: set[int], codes_of: Callable[[int], Any]) -> Iterator[Neighbours]:
    """Every seed; activations of at most three are held."""
    ordered = sorted(seeds)
    first = codes = codes_of(ordered[0])
    for seed, following in zip(ordered, [*ordered[1:], ordered[0]]):
        others = first if following == ordered[0] else codes_of(following)
        yield Neighbours(seed, codes, following, others, len(ordered) > 2 or seed < following)
        codes = others


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        saes=[Path(path).parent for path in snakemake.input.saes],
        shards=[Path(path) for path in snakemake.input.test],
        variant=snakemake.wildcards.variant,
        partition=snakemake.wildcards.partition,
        correspondence=Path(snakemake.output[0]),
        n_tokens=snakemake.params.n_tokens,
        seed=snakemake.params.seed,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
