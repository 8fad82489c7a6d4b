"""SAEs on disk: sae.safetensors and cfg.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clustersae import __version__
from clustersae.experiment.clusters import cluster_name
from clustersae.experiment.sae_settings import SAESettings
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import read_object, write_json
from clustersae.runtime.tensors import check_seal, load_tensors, save_tensors, sealed
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.registry import create

#: What every cfg.json has, for whatever architecture.
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
    state = sae.state_dict()
    save_tensors(folder / "sae.safetensors", state, sealed(state, {"fingerprint": fingerprint}))
    write_json(
        folder / "cfg.json",
        {
            "version": __version__,
            "fingerprint": fingerprint,
            "variant": variant,
            "cluster": name or cluster_name(sae.layers),
            "layers": list(sae.layers),
            "d_model": sae.layer_mean.shape[1],
            "first_step": first_step,
            **asdict(settings),
            **(data or {}),
        },
    )


def load_sae(
    folder: str | Path,
    device: torch.device | str = "cpu",
    fingerprint: str | None = None,
) -> SparseAutoencoder:
    """Read an SAE; its cfg.json is then its attribute `config`.

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
    config = read_object(folder / "cfg.json")
    if not (
        all(isinstance(config.get(key), kind) for key, kind in KINDS.items())
        and all(isinstance(layer, int) for layer in config["layers"])
    ):
        raise InputError(
            f"{folder}/cfg.json is not that of an SAE. Delete the folder and run again."
        )
    tensors, metadata = load_tensors(folder / "sae.safetensors")
    check_seal(folder / "sae.safetensors", tensors, metadata)
    if metadata.get("fingerprint") != config["fingerprint"]:
        raise InputError(
            f"{folder}: sae.safetensors and cfg.json belong to different SAEs."
            " Delete the folder and run again."
        )
    if fingerprint is not None and config["fingerprint"] != fingerprint:
        raise InputError(
            f"{folder} was trained on another model (fingerprint {config['fingerprint'][:12]},"
            f" not {fingerprint[:12]}). Delete it and run again."
        )
    # What cfg.json says is reserved in memory; what sae.safetensors holds is there already.
    if not {"b_enc", "layer_mean", "layer_scale"} <= tensors.keys():
        raise InputError(f"{folder}/sae.safetensors is no SAE. Delete the folder and run again.")
    if len(set(config["layers"])) != len(tensors["layer_mean"]):
        raise InputError(
            f"{folder}: cfg.json says layers {config['layers']}, sae.safetensors has statistics of"
            f" {len(tensors['layer_mean'])}. Delete the folder and run again."
        )
    if config["d_sae"] != len(tensors["b_enc"]):
        raise InputError(
            f"{folder}: cfg.json says {config['d_sae']} latents, sae.safetensors holds"
            f" {len(tensors['b_enc'])}. Delete the folder and run again."
        )
    try:
        sae = create(config, config["layers"], tensors["layer_mean"], tensors["layer_scale"])
        sae.load_state_dict(tensors)
    except Exception as error:  # values of a wrong kind are found anywhere
        raise InputError(
            f"{folder}: sae.safetensors and cfg.json do not make an SAE ({first_line(error)})."
            " Delete the folder and run again."
        ) from error
    sae.config = config
    return sae.to(device).eval().requires_grad_(False)


def by_seed(saes: Sequence[SparseAutoencoder]) -> list[list[SparseAutoencoder]]:
    """SAEs of the same seed together, seeds ascending."""
    seeds = sorted({sae.config["seed"] for sae in saes})
    return [[sae for sae in saes if sae.config["seed"] == seed] for seed in seeds]
