"""SAEs on disk: sae.safetensors, and cfg.json for who wants to read what the former says of itself.

All is in sae.safetensors. A workflow in which a job reads 80 SAEs then has one file of each to look
after.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clustersae import __version__
from clustersae.experiment.clusters import cluster_name
from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import parsed_json, read_object, write_json
from clustersae.runtime.memory import enough_memory
from clustersae.runtime.tensors import check_seal, load_tensors, open_tensors, save_tensors, sealed
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.registry import create

#: The metadata entry with what cfg.json says.
_CONFIG = "config"

#: What it has for every SAE, of whatever architecture.
KINDS = {"fingerprint": str, "layers": list, "architecture": str, "d_sae": int, "k": int}


def save_sae(
    folder: str | Path,
    sae: SparseAutoencoder,
    settings: SAESettings,
    variant: str,
    fingerprint: str,
    name: str = "",
    first_step: int = 0,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write sae.safetensors and cfg.json into `folder`.

    Args:
        fingerprint: of the model whose activations the SAE was trained on.
        name: of a specialised SAE, `3@0-4`; by default the cluster.
        first_step: what the SAE that it started from had read, in batches of its own size.
        data: of what it was trained on: how it was normalised, which tokens were left out.
    """
    folder = Path(folder)
    config = {
        "version": __version__,
        "fingerprint": fingerprint,
        "variant": variant,
        "cluster": name or cluster_name(sae.layers),
        "layers": list(sae.layers),
        "d_model": sae.layer_mean.shape[1],
        "first_step": first_step,
        **asdict(settings),
        **(data or {}),
    }
    state = sae.state_dict()
    save_tensors(folder / "sae.safetensors", state, sealed(state, {_CONFIG: json.dumps(config)}))
    write_json(folder / "cfg.json", config)


def read_config(folder: str | Path) -> dict[str, Any]:
    """What is known of the SAE in `folder`, without reading its weights.

    Raises:
        InputError: the file is absent or damaged, or is no SAE.
    """
    with open_tensors(Path(folder) / "sae.safetensors") as file:
        return _config(Path(folder) / "sae.safetensors", file.metadata() or {})


def _config(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """From the metadata of an SAE's file at `path`."""
    if _CONFIG not in metadata:  # of an earlier version
        config = read_object(path.with_name("cfg.json"))
    else:
        try:
            config = parsed_json(metadata[_CONFIG])
        except ValueError:
            config = None
    if not (
        isinstance(config, dict)
        and all(isinstance(config.get(key), kind) for key, kind in KINDS.items())
        and all(isinstance(layer, int) for layer in config["layers"])
        and metadata.get("fingerprint", config["fingerprint"]) == config["fingerprint"]
    ):
        raise InputError(f"{path} does not say what SAE it is. Delete the folder and run again.")
    return config


def load_sae(
    folder: str | Path, device: torch.device | str = "cpu", fingerprint: str | None = None
) -> SparseAutoencoder:
    """Read an SAE; what is known of it, as in cfg.json, is then its attribute `config`.

    `encode(x, layer)` takes raw activations x [..., d_model] of one of its `layers` and gives the
    `indices` and `values` [..., k] of its latents; `decode(latents, layer)` gives [..., d_model].
    No gradient reaches its weights. A crosscoder takes and gives all of its layers at once,
    [..., n_layers, d_model] (`layers_at_once` in cfg.json).

    Args:
        folder: `saes/{variant}/{sae}/seed-{seed}`.
        fingerprint: of the model that it must belong to; None takes any.

    Raises:
        InputError: a file is absent or damaged, or the SAE belongs to another model than
            `fingerprint` says.
    """
    folder = Path(folder)
    path = folder / "sae.safetensors"
    tensors, metadata = load_tensors(path)
    check_seal(path, tensors, metadata)
    config = _config(path, metadata)
    if fingerprint is not None and config["fingerprint"] != fingerprint:
        raise InputError(
            f"{folder} was trained on another model (fingerprint {config['fingerprint'][:12]},"
            f" not {fingerprint[:12]}). Delete it and run again."
        )
    # What the metadata say is reserved in memory; the tensors are there already.
    if not {"b_enc", "layer_mean", "layer_scale"} <= tensors.keys():
        raise InputError(f"{path} is no SAE. Delete the folder and run again.")
    if len(set(config["layers"])) != len(tensors["layer_mean"]):
        raise InputError(
            f"{path} is said to be of the layers {config['layers']} and has statistics of"
            f" {len(tensors['layer_mean'])}. Delete the folder and run again."
        )
    if config["d_sae"] != len(tensors["b_enc"]):
        raise InputError(
            f"{path} is said to have {config['d_sae']} latents and holds {len(tensors['b_enc'])}."
            " Delete the folder and run again."
        )
    try:
        sae = create(config, config["layers"], tensors["layer_mean"], tensors["layer_scale"])
        sae.load_state_dict(tensors)
    except Exception as error:  # values of a wrong kind are found anywhere
        raise InputError(
            f"{path}: what it says and what it holds do not make an SAE ({first_line(error)})."
            " Delete the folder and run again."
        ) from error
    sae.config = config
    n_gib = sum(each.nbytes for each in tensors.values()) / 2**30
    with enough_memory(
        f"the SAE in {folder}, {n_gib:.2g} GiB beside what the job holds already,",
        "Lower sae.expansion_factor or sae.d_sae, study fewer layers (activations.layers), or free"
        " the GPU.",
    ):
        return sae.to(device).eval().requires_grad_(False)


def by_seed(folders: Iterable[Path]) -> dict[int, list[Path]]:
    """The folders of SAEs of each seed, seeds ascending. Weights are not read: a seed's take GB."""
    seeds: dict[int, list[Path]] = {}
    for folder in folders:
        seeds.setdefault(read_config(folder)["seed"], []).append(folder)
    return dict(sorted(seeds.items()))
