"""The training losses of SAELens and dictionary_learning on given weights and activations.

    python tests/interop/losses.py ARCHITECTURE INPUT OUTPUT

INPUT is a safetensors file with the weights, `x` [n, d_model], and scalars `k` and `sparsity`;
OUTPUT gets `loss` and `reconstruction`. Runs in the peers' environment, which knows nothing of this
project.
"""

import sys

import torch
from dictionary_learning.dictionary import GatedAutoEncoder
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import (
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.saes.sae import TrainStepInput
from safetensors.torch import load_file, save_file


def of_saelens(sae, own: dict[str, torch.Tensor], coefficients: dict[str, float]):
    """(loss, reconstruction) of a training SAE of SAELens with the weights `own`."""
    with torch.no_grad():
        for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
            getattr(sae, name).copy_(own[name])
    output = sae.training_forward_pass(TrainStepInput(own["x"], coefficients, None, 0, False))
    return output.loss, output.sae_out


def of_dictionary_learning(trainer, weights: dict[str, torch.Tensor], x: torch.Tensor):
    """(loss, reconstruction) of a trainer of dictionary_learning whose SAE has `weights`."""
    trainer.ae.load_state_dict(weights, strict=False)
    log = trainer.loss(x, step=1, logging=True)
    # The log's own loss is a float; computed anew it is a tensor.
    return trainer.loss(x, step=1), log.x_hat if hasattr(log, "x_hat") else log.recon


def main(architecture: str, source: str, output: str) -> None:
    own = load_file(source)
    d_in, d_sae = own["W_enc"].shape
    k, sparsity = int(own["k"]), float(own["sparsity"])
    shape = {"steps": 10, "activation_dim": d_in, "dict_size": d_sae, "layer": 0, "lm_name": "none"}
    shape |= {"device": "cpu", "warmup_steps": 1}
    linear = {"encoder.weight": own["W_enc"].T, "decoder.weight": own["W_dec"].T}
    if architecture == "relu":
        config = StandardTrainingSAEConfig(d_in=d_in, d_sae=d_sae, apply_b_dec_to_input=True)
        found = of_saelens(StandardTrainingSAE(config), own, {"l1": sparsity})
    elif architecture == "matryoshka":
        widths = [*own["prefixes"].tolist(), d_sae]
        config = MatryoshkaBatchTopKTrainingSAEConfig(
            d_in=d_in, d_sae=d_sae, k=k, matryoshka_widths=widths, apply_b_dec_to_input=True,
            rescale_acts_by_decoder_norm=False,
        )  # fmt: skip
        found = of_saelens(MatryoshkaBatchTopKTrainingSAE(config), own, {})
    elif architecture == "batchtopk":
        weights = linear | {"encoder.bias": own["b_enc"], "b_dec": own["b_dec"]}
        found = of_dictionary_learning(BatchTopKTrainer(k=k, **shape), weights, own["x"])
    elif architecture == "jumprelu":
        trainer = JumpReluTrainer(
            sparsity_penalty=sparsity, target_l0=k, sparsity_warmup_steps=None, **shape
        )
        weights = {name: own[name] for name in ("W_enc", "W_dec", "b_dec", "threshold")}
        weights["b_enc"] = own["b_enc"] - own["b_dec"] @ own["W_enc"]  # it encodes x as it is
        found = of_dictionary_learning(trainer, weights, own["x"])
    else:
        trainer = GatedSAETrainer(l1_penalty=sparsity, sparsity_warmup_steps=None, **shape)
        assert isinstance(trainer.ae, GatedAutoEncoder)
        weights = linear | {"gate_bias": own["b_enc"], "mag_bias": own["b_mag"]}
        weights |= {"r_mag": own["r_mag"], "decoder_bias": own["b_dec"]}
        found = of_dictionary_learning(trainer, weights, own["x"])
    loss, reconstruction = (each.detach() for each in found)
    save_file({"loss": loss, "reconstruction": reconstruction.contiguous()}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
