"""What an SAE of one layer looks like on disk in SAELens, dictionary_learning and sparsify.

Normalisation is folded in, so that every tool reads raw activations. All three encode
(x − b_dec) W_enc + b_enc, with one exception, and decode z W_dec + b_dec; they differ in names and
in which way round matrices lie. sparsify has TopK alone. Formats were read off sae_lens 6,
dictionary_learning 0.1 and eai-sparsify 1.3.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clustersae.experiment.architectures import check_export
from clustersae.experiment.clusters import cluster_name, start_of
from clustersae.models.description import ModelDescription
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import replacing, write_json
from clustersae.runtime.tensors import save_tensors
from clustersae.sae.module import SparseAutoencoder

#: From this version on SAELens reads `metadata` as it is; without one it takes files for old ones.
SAE_LENS_VERSION = "6.0.0"


def ancestry(sae: SparseAutoencoder) -> tuple[str, str | None]:
    """The name of the cluster that an SAE from disk serves, and of the SAE that it started from."""
    start = start_of(sae.config["variant"], sae.config["cluster"])
    return cluster_name(sae.layers), start[1] if start else None


class LayerSAE(NamedTuple):
    """An SAE at one of its layers, and what is to be said of it."""

    sae: SparseAutoencoder
    layer: int
    model: ModelDescription
    rows: Mapping[str, Any] | None = None
    """`n_ctx` and `bos` of the text, as in corpus.json; None if that is not known. A text without
    them is that of a model trained here: its rows are the model's context and begin with BOS, if
    there is one."""

    @property
    def n_ctx(self) -> int:
        """Tokens of a row that the SAE was trained on; models read far longer ones."""
        return (self.rows or {}).get("n_ctx", self.model.n_ctx)

    @property
    def begins_with_bos(self) -> bool:
        """Whether rows do, so far as they begin where a text does."""
        bos = "auto" if self.rows is None else self.rows.get("bos", "row")
        if bos == "auto":
            return self.model.adds_bos
        return bos != "none" and self.model.bos_id is not None

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Folded: W_enc [d_model, d_sae], b_enc, W_dec [d_sae, d_model], b_dec and what else the
        architecture has, on the CPU."""
        return {name: each.cpu().contiguous() for name, each in self.sae.fold(self.layer).items()}

    @property
    def architecture(self) -> str:
        return self.sae.config["architecture"]

    @property
    def facts(self) -> dict[str, Any]:
        """Where the SAE comes from: its cluster, ancestry and training, as its cfg.json has it."""
        keys = (
            *("version", "architecture", "variant", "cluster", "seed", "fingerprint"),
            *("normalisation", "left_out"),
        )
        config = self.sae.config
        return {
            **{f"clustersae_{key}": config.get(key) for key in keys},
            "clustersae_layers": list(self.sae.layers),
        }


def write_saelens(folder: Path, exported: LayerSAE) -> None:
    """A folder for `sae_lens.SAE.load_from_disk`.

    BatchTopK is stored as that tool does it: as a JumpReLU whose thresholds are all the same.
    """
    sae, layer, model, _ = exported
    weights = exported.weights
    match exported.architecture:
        case "topk":
            own = {"architecture": "topk", "k": sae.k, "rescale_acts_by_decoder_norm": False}
        case "relu":
            own = {"architecture": "standard"}
        case "gated":
            own = {"architecture": "gated"}
            weights["b_gate"] = weights.pop("b_enc")
        case _:
            own = {"architecture": "jumprelu"}
            weights["threshold"] = weights["threshold"].expand(sae.d_sae)
    save_tensors(folder / "sae_weights.safetensors", weights)
    write_json(
        folder / "cfg.json",
        {
            **own,
            "d_in": sae.d_model,
            "d_sae": sae.d_sae,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {
                "sae_lens_version": SAE_LENS_VERSION,
                "hook_name": model.hook.format(l=layer),
                "model_name": model.source,
                "model_class_name": "HookedTransformer",
                "hook_head_index": None,
                "context_size": exported.n_ctx,
                "prepend_bos": exported.begins_with_bos,
                "exclude_special_tokens": True,
                **exported.facts,
            },
        },
    )


def write_dictionary_learning(folder: Path, exported: LayerSAE) -> None:
    """A folder for `dictionary_learning.utils.load_dictionary`.

    That tool reads pickle; this one holds tensors alone, which torch reads with weights_only.
    """
    sae, layer, model, _ = exported
    trainer, dictionary, state = _of_dictionary_learning(exported)
    with replacing(folder / "ae.pt") as temporary:
        torch.save(state, temporary)
    write_json(
        folder / "config.json",
        {
            "trainer": {
                "trainer_class": trainer,
                "dict_class": dictionary,
                "activation_dim": sae.d_model,
                "dict_size": sae.d_sae,
                "k": sae.k,
                "layer": layer,
                "lm_name": model.source,
                "submodule_name": f"resid_post_layer_{layer}",
                **exported.facts,
            },
            "buffer": {"d_submodule": sae.d_model, "ctx_len": exported.n_ctx},
        },
    )


def _of_dictionary_learning(exported: LayerSAE) -> tuple[str, str, dict[str, torch.Tensor]]:
    """What trains such an SAE there, what it is there, and its tensors."""
    sae, weights = exported.sae, exported.weights
    linear = {
        "encoder.weight": weights["W_enc"].T.contiguous(),
        "decoder.weight": weights["W_dec"].T.contiguous(),
    }
    k = {"k": torch.tensor(sae.k, dtype=torch.int32)}
    b_enc, b_dec = weights["b_enc"], weights["b_dec"]
    match exported.architecture:
        case "topk":
            state = {
                "encoder.bias": b_enc,
                "b_dec": b_dec,
                "threshold": torch.tensor(-1.0),
            }  # unset
            return "TopKTrainer", "AutoEncoderTopK", linear | state | k
        case "batchtopk":
            state = {"encoder.bias": b_enc, "b_dec": b_dec, "threshold": weights["threshold"]}
            return "BatchTopKTrainer", "BatchTopKSAE", linear | state | k
        case "matryoshka":
            ends = torch.tensor([0, *sae.config["prefixes"], sae.d_sae])
            state = weights | k | {"group_sizes": ends.diff()}
            return "MatryoshkaBatchTopKTrainer", "MatryoshkaBatchTopKSAE", state
        case "jumprelu":
            # It does not take b_dec off before it encodes.
            state = weights | {"b_enc": b_enc - b_dec @ weights["W_enc"]}
            return "JumpReluTrainer", "JumpReluAutoEncoder", state
        case "relu":
            state = {"encoder.bias": b_enc, "bias": b_dec}
            return "StandardTrainer", "AutoEncoder", linear | state
        case "gated":
            state = {"gate_bias": b_enc, "decoder_bias": b_dec, "r_mag": weights["r_mag"]}
            state["mag_bias"] = weights["b_mag"]
            return "GatedSAETrainer", "GatedAutoEncoder", linear | state
    raise ValueError(f"There is no {exported.architecture} in dictionary_learning.")


def write_sparsify(folder: Path, exported: LayerSAE) -> None:
    """A folder for `sparsify.SparseCoder.load_from_disk`, which delphi reads as well."""
    sae = exported.sae
    weights = exported.weights
    save_tensors(
        folder / "sae.safetensors",
        {
            "encoder.weight": weights["W_enc"].T.contiguous(),
            "encoder.bias": weights["b_enc"],
            "W_dec": weights["W_dec"],
            "b_dec": weights["b_dec"],
        },
    )
    write_json(
        folder / "cfg.json",
        {
            "activation": "topk",
            "expansion_factor": sae.d_sae // sae.d_model,
            # Its trainer would rescale rows; with standardised dimensions they have no unit norm.
            "normalize_decoder": sae.layer_scale.dim() == 1,
            "num_latents": sae.d_sae,
            "k": sae.k,
            "multi_topk": False,
            "skip_connection": False,
            "transcode": False,
            "d_in": sae.d_model,
            **exported.facts,
        },
    )


#: Format → what writes it.
FORMATS: Mapping[str, Callable[[Path, LayerSAE], None]] = {
    "saelens": write_saelens,
    "dictionary_learning": write_dictionary_learning,
    "sparsify": write_sparsify,
}

#: Format → name of the folder of a layer; sparsify and delphi take it for the place of the hook.
FOLDERS: Mapping[str, str] = {
    "saelens": "layer_{layer}",
    "dictionary_learning": "layer_{layer}",
    "sparsify": "layers.{layer}",
}


def write_layer(folder: Path, format: str, exported: LayerSAE) -> Path:
    """Write an SAE at one of its layers into a folder of its own below `folder`, and give that.

    Raises:
        InputError: there is no such format, or it cannot express the SAE.
    """
    if format not in FORMATS:
        raise InputError(f"There is no format {format!r}: use {', '.join(FORMATS)}.")
    cluster = exported.sae.config["cluster"]
    check_export(format, exported.architecture, f"The SAE {cluster} is to be exported to {format}")
    place = folder / FOLDERS[format].format(layer=exported.layer)
    FORMATS[format](place, exported)
    return place
