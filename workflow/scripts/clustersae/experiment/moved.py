"""Keys that a configuration had in an earlier form, and what stands for them now."""

from collections.abc import Iterator, Mapping
from typing import Any

from clustersae.runtime.errors import InputError

#: Where the corpus, architecture and training of models that are trained here have gone.
_MODULE = "language_models.NAME.{}, with trained: NAME here"

#: Old key → what to write instead. `*` is the name of a model; sections may stand in a model too.
MOVED = {
    "clustering.methods": "arms.shared.methods",
    "clustering.counts": "arms.shared.counts (auto: arms.auto: [shared])",
    "clustering.controls": "arms.controls.methods",
    "clustering.control_counts": "arms.controls.counts",
    "clustering.tolerance": "arms.margins",
    "clustering.target": "arms.margins",
    "clustering.pilot_fraction": "arms.pilot_fraction",
    "clustering.specialise": "arms.specialised (or arms.auto: [specialised])",
    "sae.tokens": "sae.training_tokens",
    "sae.expansion": "sae.expansion_factor",
    "sae.least_steps": "sae.min_steps",
    "sae.auxk_coefficient": "sae.auxk_alpha",
    "sae.grad_clip": "sae.max_grad_norm",
    "sae.specialise.warmup_fraction": "sae.warmup_fraction, which holds for all SAEs",
    "sae.specialise.decay_fraction": "sae.decay_fraction, which holds for all SAEs",
    "sae.specialise.carry_optimizer": "nothing: optimisers are not carried over any more",
    "evaluation.equal_compute": "arms.per_layer and arms.narrower (as budgets, K / L)",
    "evaluation.equal_exposure": "arms.equal_exposure",
    "evaluation.lengths": "arms.per_layer",
    "evaluation.bootstrap": "nothing: intervals are Student's t over seeds",
    "evaluation.circuits.largest": "evaluation.circuits.max_nodes",
    "evaluation.circuits.least_pairs": "evaluation.circuits.min_pairs",
    "evaluation.circuits.least_accuracy": "evaluation.circuits.min_accuracy",
    "evaluation.circuits.least_gap": "evaluation.circuits.min_gap",
    "evaluation.features.rule_clauses": "evaluation.features.max_clauses",
    "evaluation.features.least_firings": "evaluation.features.min_firings",
    "models.*.source": "path (a directory), repo (of the Hub) or trained (of language_models)",
    **{f"models.*.{key}": _MODULE.format(key) for key in ("architecture", "training")},
    **{
        f"models.*.corpus.{key}": _MODULE.format(f"corpus.{key}")
        for key in ("name", "path", "cache", "checksum", "rows", "seed")
    },
    "models.*.corpus.tokenizer": "nothing: a model brings its own",
    "report": "nothing: figures have one resolution",
}


def check_form(config: Any) -> None:
    """Refuse a configuration in an earlier form.

    Raises:
        InputError: names the first such key and what to write instead.
    """
    for key in _keys(config):
        shown = ".".join(key)
        inner = key[2:] if key[:1] == ("models",) else key
        of_model = ("models", "*", *key[2:]) if key[:1] == ("models",) and len(key) > 2 else ()
        new = MOVED.get(".".join(inner)) or MOVED.get(".".join(of_model))
        if new:
            raise InputError(
                f"config: {shown} is of an earlier form of the configuration: write {new}."
            )


def _keys(value: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of nested sections, as (sae, specialise, learning_rate)."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            path = (*where, str(key))
            yield path
            yield from _keys(each, path)
