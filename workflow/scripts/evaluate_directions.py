"""What the latents that the feature browser shows write: effects on logits, and nearest latents."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from clustersae.browser.directions import (
    SCHEMA,
    Effects,
    Head,
    directions_of,
    logit_effects,
    nearest,
)
from clustersae.browser.groups import Shown, shown_groups
from clustersae.experiment.arms import PER_LAYER
from clustersae.experiment.clusters import parent
from clustersae.experiment.plan import read_plan
from clustersae.experiment.variants import BASE
from clustersae.latents.words import read_words
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime import device, job
from clustersae.runtime.files import replacing
from clustersae.runtime.log import Progress
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.storage import load_sae, read_config

#: (variant, partition, group) and layer → latents that fire there, ascending.
Live = Mapping[tuple[tuple[str, str, str], int], np.ndarray]
NONE = np.empty(0, dtype=np.int64)


def main(
    model_dir: Path,
    groups: Sequence[Shown],
    saes: Sequence[Path],
    layers: Sequence[Path],
    output: Path,
    where: torch.device,
) -> None:
    """Write directions.parquet: one row per group, layer, and latent that fires there.

    Args:
        saes: folders of the groups' SAEs, and of the full per-layer ones, of one seed.
        layers: layers.parquet of the arms that they serve, by `evaluate_features.py`.
    """
    description = read_description(model_dir)
    stream = ResidualStream(load_model(model_dir, description, where), description)
    configs = {folder: read_config(folder) for folder in saes}
    folders = {(each["variant"], each["cluster"]): folder for folder, each in configs.items()}
    live = live_latents(layers, configs[saes[0]]["seed"])

    @lru_cache(maxsize=3)  # an SAE, what it started from, and that of one of its layers
    def sae_of(variant: str, name: str) -> SparseAutoencoder:
        return load_sae(folders[variant, name], where, description.fingerprint)

    every_token = np.arange(description.vocab_size)
    spelling = np.array(read_words(model_dir / "tokenizer.json", every_token).strings, dtype=object)
    progress = Progress("Reading the directions of groups of latents", len(groups))
    with replacing(output) as temporary, pq.ParquetWriter(temporary, SCHEMA) as file:
        for group in groups:
            label = dict(zip(("variant", "partition", "group"), group.key))
            for name in dict.fromkeys(group.saes.values()):
                sae = sae_of(group.own_variant, name)
                origin = parent(group.own_variant), parent(name)
                start = sae_of(*origin) if origin in folders else None
                found = {layer: live.get((group.key, layer), NONE) for layer in sae.layers}
                effects_of = effects_by_layer(stream.unembed, sae, found)
                for layer, effects in effects_of.items():
                    own_index = torch.from_numpy(found[layer]).to(where)
                    rows = sae.W_dec[own_index]
                    scale = sae.latent_scale(layer).expand(sae.d_sae)[own_index].cpu().numpy()
                    others = live.get(((BASE, PER_LAYER, str(layer)), layer), NONE)
                    index = torch.from_numpy(others).to(where)
                    near = nearest(rows, sae_of(BASE, str(layer)).W_dec, index)
                    cosines = start_cosines(rows, start, found[layer])
                    own: dict[str, str | int] = {**label, "layer": layer}
                    file.write_table(
                        table(own, found[layer], effects, near, cosines, scale, spelling)
                    )
            progress.update()
    progress.close()


def effects_by_layer(
    head: Head, sae: SparseAutoencoder, latents: Mapping[int, np.ndarray]
) -> dict[int, Effects]:
    """The effects of some latents of every layer; once for all layers where they are the same."""
    where = sae.W_dec.device
    latents = {layer: own for layer, own in latents.items() if len(own)}
    if sae.layer_scale.dim() == 1 and latents:
        every = np.unique(np.concatenate(list(latents.values())))
        index = torch.from_numpy(every).to(where)
        effects = logit_effects(head, directions_of(sae, sae.layers[0], index))
        places = {layer: np.searchsorted(every, own) for layer, own in latents.items()}
        return {layer: Effects(*(each[own] for each in effects)) for layer, own in places.items()}
    return {
        layer: logit_effects(head, directions_of(sae, layer, torch.from_numpy(own).to(where)))
        for layer, own in latents.items()
    }


def live_latents(paths: Sequence[Path], seed: int) -> Live:
    """The latents that fire, by group and layer."""
    keys = ["variant", "partition", "group", "layer"]
    columns = [*keys, "latent", "firing_rate"]
    frames = [pd.read_parquet(path, columns=columns, filters=[("seed", "==", seed)])
              for path in dict.fromkeys(paths)]  # fmt: skip
    rows = pd.concat(frames).query("firing_rate > 0")
    return {
        ((variant, partition, group), layer): np.sort(latents.to_numpy().astype(np.int64))
        for (variant, partition, group, layer), latents in rows.groupby(keys)["latent"]
    }


def start_cosines(
    rows: torch.Tensor, start: SparseAutoencoder | None, latents: np.ndarray
) -> np.ndarray:
    """Of decoder rows to the same latents of the SAE that they started from; NaN without one."""
    if start is None:
        return np.full(len(rows), np.nan)
    others = start.W_dec[torch.from_numpy(latents).to(rows.device)]
    return F.cosine_similarity(rows, others, dim=1).cpu().numpy()


def table(
    label: Mapping[str, str | int],
    latents: np.ndarray,
    effects: Effects,
    near: tuple[np.ndarray, np.ndarray],
    start_cosine: np.ndarray,
    scale: np.ndarray,
    spelling: np.ndarray,
) -> pa.Table:
    """The rows of one SAE and layer, in the format SCHEMA."""
    columns = {
        **{name: [value] * len(latents) for name, value in label.items()},
        "latent": latents,
        "promoted": spelling[effects.promoted].tolist(),
        "promoted_effect": effects.promoted_effect.tolist(),
        "suppressed": spelling[effects.suppressed].tolist(),
        "suppressed_effect": effects.suppressed_effect.tolist(),
        "nearest": near[0].tolist(),
        "cosine": near[1].tolist(),
        "start_cosine": start_cosine,
        "scale": scale,
    }
    return pa.table(columns).select(SCHEMA.names).cast(SCHEMA)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        groups=shown_groups(read_plan(snakemake.input.plan), snakemake.params.arms),
        saes=[Path(path).parent for path in snakemake.input.saes],
        layers=[Path(path) for path in [*snakemake.input.layers, snakemake.input.baseline]],
        output=Path(snakemake.output[0]),
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
