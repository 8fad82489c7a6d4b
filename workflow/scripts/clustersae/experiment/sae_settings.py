"""The settings of one SAE, from the configuration, the variant and the cluster."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clustersae.experiment.architectures import ARCHITECTURES, PREFIXES, held_bytes
from clustersae.experiment.clusters import FROM, VIA
from clustersae.experiment.flops import matched_width, optimiser_flops, training_flops
from clustersae.experiment.variants import layers_at_once, variant_scales
from clustersae.runtime.errors import InputError

#: Rows of a shard that are read in one go: a batch of 2,048 is mixed from 16 places. Batches are
#: halved to multiples of this alone, so that all sizes read the same rows in the same order.
BLOCK_ROWS = 128
#: Smaller blocks would make reading slower than training.
MIN_BLOCK_ROWS = 8


@dataclass(frozen=True)
class SAESettings:
    """Everything that decides an SAE's weights, but the data."""

    architecture: str
    d_sae: int
    k: int
    n_steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    decay_steps: int
    auxk_alpha: float
    dead_after: int  # activations without firing after which a latent counts as dead
    max_grad_norm: float
    seed: int
    sparsity: float = 0.0  # weight of the loss that makes latents sparse, where there is one
    prefixes: tuple[int, ...] = ()  # latents of a Matryoshka SAE's inner dictionaries
    layers_at_once: int = 1  # that a row of a batch is made of: all of a crosscoder's

    @property
    def n_activations(self) -> int:
        """Of the whole training."""
        return self.n_steps * self.step_activations

    @property
    def step_activations(self) -> int:
        """Of one step."""
        return self.batch_size * self.layers_at_once

    def flops(self, d_model: int) -> int:
        """Operations of the training per activation, but for those of the optimiser.

        All of them grow with the width of what is read, so that those of a crosscoder, which reads
        `layers_at_once` activations in one row, are the same for each of these.

        Args:
            d_model: of the stream.
        """
        n_prefixes = len(self.prefixes)
        return training_flops(self.architecture, d_model, self.d_sae, self.k, n_prefixes)

    def total_flops(self, d_model: int) -> int:
        """Operations of the whole training as it is done here, the optimiser's included."""
        width = self.layers_at_once * d_model
        of_optimiser = self.n_steps * optimiser_flops(width, self.d_sae)
        return self.n_activations * self.flops(d_model) + of_optimiser

    def weight_bytes(self, d_model: int) -> int:
        """Of encoder, decoder and biases in float32."""
        width = self.layers_at_once * d_model
        return 4 * (2 * width * self.d_sae + self.d_sae + width)

    def step_bytes(self, d_model: int) -> int:
        """Of memory: weights, gradients, two moments, and what a step holds for its batch."""
        width = self.layers_at_once * d_model
        held = held_bytes(self.architecture, width, self.d_sae, self.k, len(self.prefixes))
        return 4 * self.weight_bytes(d_model) + self.batch_size * held

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, constant, linear decay to zero over the last `decay_steps`."""
        left = (self.n_steps - step) / self.decay_steps if self.decay_steps else 1.0
        return self.learning_rate * min(self._warmth(step), left)

    def sparsity_at(self, step: int) -> float:
        """It rises with the learning rate: latents get something to write before they cost."""
        return self.sparsity * self._warmth(step)

    def _warmth(self, step: int) -> float:
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0


def learning_rates(config: Mapping[str, Any], variant: str) -> list[float | None]:
    """The rates to choose from, one or more; None stands for the default.

    An SAE that starts from another has those of `specialise`; null there: as for the others.
    """
    started = FROM in variant or VIA in variant
    rates = config["specialise"]["learning_rate"] if started else None
    if rates is None:
        rates = config["learning_rate"]
    return list(rates) if isinstance(rates, Sequence) else [rates]


def resolve(
    config: Mapping[str, Any],
    variant: str,
    n_cluster_layers: int,
    d_model: int,
    seed: int,
    learning_rate: float | None = None,
) -> SAESettings:
    """The settings of one SAE.

    Args:
        config: the section `sae` of the configuration.
        learning_rate: one of `learning_rates`; by default the first.

    Raises:
        InputError: the settings contradict each other; the message names the keys.
    """
    learning_rate = learning_rate or learning_rates(config, variant)[0]
    token_scale, width_scale = variant_scales(variant, n_cluster_layers)
    d_sae = round(config["d_sae"] or config["expansion_factor"] * d_model)
    architecture = config["architecture"]
    prefixes = prefix_widths(config, d_sae)
    if width_scale < 1:
        d_sae = matched_width(architecture, d_sae, config["k"], width_scale, len(prefixes))
        prefixes = prefix_widths(config, d_sae)
    if config["k"] > d_sae:
        raise InputError(
            f"sae.k is {config['k']}, more than the {d_sae} latents of an SAE of variant"
            f" {variant}. Lower sae.k or raise sae.d_sae or sae.expansion_factor."
        )
    batch_size, n_steps = length_of(config, variant, n_cluster_layers)
    n_tokens = config["training_tokens"] * token_scale
    default_sparsity = ARCHITECTURES[architecture].sparsity or 0.0
    return SAESettings(
        architecture=architecture,
        d_sae=d_sae,
        k=config["k"],
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate or default_learning_rate(d_sae),
        warmup_steps=round(config["warmup_fraction"] * n_steps),
        decay_steps=round(config["decay_fraction"] * n_steps),
        auxk_alpha=config["auxk_alpha"],
        dead_after=config["dead_after"] or default_dead_after(n_tokens, batch_size),
        max_grad_norm=config["max_grad_norm"],
        seed=seed,
        sparsity=default_sparsity if config["sparsity"] is None else config["sparsity"],
        prefixes=prefixes,
        layers_at_once=layers_at_once(variant, n_cluster_layers),
    )


def prefix_widths(config: Mapping[str, Any], d_sae: int) -> tuple[int, ...]:
    """Latents of the inner dictionaries: sae.prefixes of d_sae, ascending; of Matryoshka SAEs.

    Raises:
        InputError: shares are given, and none of them makes an inner dictionary.
    """
    if config["architecture"] != "matryoshka":
        return ()
    shares = PREFIXES if config["prefixes"] is None else config["prefixes"]
    widths = sorted({round(share * d_sae) for share in shares} - {0, d_sae})
    if config["prefixes"] and not widths:
        raise InputError(
            f"sae.prefixes = {shares} leaves no inner dictionary: each comes to none or all of the"
            f" {d_sae} latents. Use a share in between, or the architecture batchtopk."
        )
    return tuple(widths)


def own_batch_size(config: Mapping[str, Any], n_tokens: float) -> int:
    """Activations per step of a training on `n_tokens` in all.

    sae.batch_size, halved for as long as there would be fewer than sae.min_steps steps: a short
    training gains more from many steps than from steps of little noise. This holds for every SAE
    alike, so that a specialised one meets per-layer SAEs of equal training on equal terms.
    """
    size = config["batch_size"]
    while n_tokens < size * config["min_steps"] and size % (2 * BLOCK_ROWS) == 0:
        size //= 2
    return size


def block_rows(batch_size: int) -> int:
    """Rows of a shard that are read in one go, of which a batch is a multiple.

    Raises:
        InputError: they would be too few.
    """
    found = max(i for i in range(1, min(batch_size, BLOCK_ROWS) + 1) if batch_size % i == 0)
    if found < min(batch_size, MIN_BLOCK_ROWS):
        raise InputError(
            f"sae.batch_size = {batch_size} has no divisor between {MIN_BLOCK_ROWS} and"
            f" {BLOCK_ROWS}, so rows could not be read in blocks. Use a multiple of {BLOCK_ROWS}."
        )
    return found


def rows_in_blocks(rows_per_shard: Iterable[int], batch_size: int) -> int:
    """How many rows of a pass are read: those of a shard that do not fill a block are left out."""
    block = block_rows(batch_size)
    return sum(n_rows // block * block for n_rows in rows_per_shard)


def check_batch(rows_per_shard: Sequence[int], batch_size: int) -> None:
    """Whether there is a batch to be read.

    Raises:
        InputError: there is none, or it cannot be read in blocks.
    """
    n_rows = rows_in_blocks(rows_per_shard, batch_size)
    if n_rows < batch_size:
        raise InputError(
            f"Training shards hold {sum(rows_per_shard)} tokens, {n_rows} of them in whole blocks"
            f" of {block_rows(batch_size)}: fewer than one batch of sae.batch_size = {batch_size}."
            " Raise activations.tokens.train or activations.shard_tokens, or lower sae.batch_size."
        )


def length_of(config: Mapping[str, Any], variant: str, n_cluster_layers: int) -> tuple[int, int]:
    """Rows of a batch, and the steps, of an SAE's training.

    Args:
        config: the section `sae` of the configuration.

    Raises:
        InputError: it is less than one batch.
    """
    token_scale, _ = variant_scales(variant, n_cluster_layers)
    n_tokens = config["training_tokens"] * token_scale
    batch_size = own_batch_size(config, n_tokens)
    if n_tokens < batch_size:
        raise InputError(
            f"sae.training_tokens is {config['training_tokens']}, fewer than one batch of"
            f" {batch_size} for variant {variant}, which gets {n_tokens:.0f} of them. Raise"
            " sae.training_tokens or lower sae.batch_size."
        )
    return batch_size, round(n_tokens / batch_size)


def default_learning_rate(d_sae: int) -> float:
    """2e-4 / √(d_sae / 2¹⁴) (Gao et al. 2024, section 3.1, as scaled by EleutherAI's sparsify)."""
    return 2e-4 / math.sqrt(d_sae / 2**14)


def default_dead_after(n_tokens: float, batch_size: int) -> int:
    """A tenth of the SAE's own training, in activations, but at least ten batches.

    No fixed number fits trainings of all lengths: in one shorter than it no latent would ever count
    as dead, and in a long one those that fire rarely would.
    """
    return max(10 * batch_size, round(n_tokens) // 10)
