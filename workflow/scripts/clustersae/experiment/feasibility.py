"""Whether the SAEs that a configuration asks for can be trained, found before any job starts."""

from collections.abc import Mapping
from typing import Any

from clustersae.experiment.arms import transfer_variant
from clustersae.experiment.clusters import FROM
from clustersae.experiment.layers import studied_layers
from clustersae.experiment.planning import AUTO_BUDGETS, auto_roots
from clustersae.experiment.sae_settings import (
    block_rows,
    check_batch,
    learning_rates,
    length_of,
    own_batch_size,
    resolve,
    rows_in_blocks,
)
from clustersae.experiment.variants import scaled_variant
from clustersae.experiment.windows import shard_sizes, windows_of
from clustersae.runtime.errors import InputError

#: The least that a pilot of a specialised arm must get for its FVU to mean anything.
PILOT_BATCHES = 20


def check_arms(
    where: str, settings: Mapping[str, Any], n_layers: int | None, d_model: int | None
) -> None:
    """Enough tokens, latents and layers for every arm that the experiment asks for.

    Args:
        where: what messages begin with, e.g. `config: models.gpt2`.
        settings: of one model, complete.
        n_layers, d_model: of the model; None where they cannot be known before the model is here.

    Raises:
        InputError: names the key and the remedy.
    """
    _check_saes(where, settings, d_model)
    _check_windows(where, settings)
    if n_layers is None:
        _check_browser(where, settings, None)
        return
    try:
        n_layers = len(studied_layers(settings["activations"]["layers"], n_layers))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    asked = settings["arms"]
    for key, counts in {
        "arms.shared.counts": asked["shared"]["counts"],
        "arms.equal_exposure": asked["equal_exposure"],
        "arms.controls.counts": asked["controls"]["counts"],
    }.items():
        if counts and max(counts) > n_layers:
            raise InputError(
                f"{where}: {key} asks for {max(counts)} clusters, but {n_layers} layers"
                f" are studied: use numbers from 1 to {n_layers}."
                if n_layers > 1
                else f"{where}: {key} asks for {max(counts)} clusters, but one layer is studied,"
                f" which is a cluster of its own: write {key}: []."
            )
    alone = sorted(set(asked["equal_exposure"]) - set(asked["shared"]["counts"]) - {n_layers})
    if alone:
        raise InputError(
            f"{where}: arms.equal_exposure asks for K = {alone[0]}, which arms.shared.counts does"
            " not have: there would be nothing to compare with. Add it to one or take it from the"
            " other."
        )
    _check_specialised(where, settings, n_layers)
    _check_crosscoders(where, settings, n_layers)
    _check_transfers(where, settings, n_layers)
    _check_browser(where, settings, n_layers)


def _check_saes(where: str, settings: Mapping[str, Any], d_model: int | None) -> None:
    sae, asked = settings["sae"], settings["arms"]
    try:
        check_batch(shard_sizes(settings["activations"]), sae["batch_size"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    starts = asked["specialised"]
    budgets = [*asked["per_layer"], *(budget for entry in starts for budget in entry["budgets"])]
    rivals = asked["transfer"]["budgets"], asked["mlsae"], asked["crosscoder"]["budgets"]
    budgets += [budget for each in rivals for budget in each]
    budgets += [asked["pilot_fraction"]] if asked["auto"] else []
    variants = ["base", *(scaled_variant("tokens", budget) for budget in budgets)]
    if d_model is None and not sae["d_sae"]:
        # Not to be known before the model is here.
        sae = {**sae, "d_sae": sae["k"], "prefixes": None}
    else:
        variants += [scaled_variant("narrower", budget) for budget in asked["narrower"]]
    for variant in variants:
        try:
            resolve(sae, variant, n_cluster_layers=1, d_model=d_model or 0, seed=0)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def _check_windows(where: str, settings: Mapping[str, Any]) -> None:
    """Windows in which batches can be mixed, and trainings that go through them together.

    They must where shards do not stay: each is read while it is there.
    """
    activations, sae, asked = (settings[key] for key in ("activations", "sae", "arms"))
    key, windows = f"{where}: activations.keep: false", windows_of(activations)
    if not activations["keep"] and activations["window"] is None:
        raise InputError(
            f"{key} removes training shards when they have been read, but all are mixed: set"
            " activations.window to the number of shards that are mixed at a time."
        )
    if windows is None:
        return
    sizes, batch_size = shard_sizes(activations), sae["batch_size"]
    fewest = min(
        rows_in_blocks([sizes[shard] for shard in windows.shards(each)], batch_size)
        for each in range(windows.count)
    )
    if fewest < 2 * batch_size:
        raise InputError(
            f"{where}: activations.window = {activations['window']} leaves windows of {fewest}"
            f" tokens in whole blocks of {block_rows(batch_size)}, fewer than two batches of"
            f" sae.batch_size = {batch_size}. Raise activations.window or activations.shard_tokens."
        )
    if activations["keep"]:
        return
    variants = ["base", f"base{FROM}base"] if asked["specialised"] else ["base"]
    several = any(len(learning_rates(sae, each)) > 1 for each in variants)
    if several and len(sae["seeds"]) > 1:
        raise InputError(
            f"{key} and several learning rates: other seeds would wait for the choice of the first,"
            " and find the shards removed. Give sae.learning_rate and sae.specialise.learning_rate"
            " one number each (a run with one seed finds them), or keep the shards."
        )
    if asked["transfer"]["budgets"]:
        raise InputError(
            f"{key} and arms.transfer: each SAE of a chain begins with the first tokens when the"
            " one before has ended, and would find the shards removed. Write arms.transfer: {} or"
            " keep the shards."
        )
    pilots = asked["pilot_fraction"] * sae["training_tokens"]
    if "specialised" in asked["auto"] or (asked["auto"] and pilots > windows.tokens(0)):
        raise InputError(
            f"{key} and arms.auto: pilots, which are trained before it is known who reads what,"
            f" must not need more than the first window of {windows.tokens(0)} tokens; those of"
            " specialised arms may. Write arms.auto: [], or [shared] with a lower"
            " arms.pilot_fraction or a larger activations.window; or keep the shards."
        )


def _check_specialised(where: str, settings: Mapping[str, Any], n_layers: int) -> None:
    """Starts that exist, and at least one batch for the shared SAEs and for those after them."""
    asked, sae = settings["arms"], settings["sae"]
    for entry in asked["specialised"]:
        if entry["from"] >= n_layers:
            raise InputError(
                f"{where}: arms.specialised starts from {entry['from']} clusters, but"
                f" {n_layers} layers are studied: use numbers from 1 to {n_layers - 1}."
                if n_layers > 1
                else f"{where}: arms.specialised starts from SAEs that layers share, but one layer"
                " is studied: write arms.specialised: []."
            )
        for budget in entry["budgets"]:
            _check_lengths(f"{where}: arms.specialised", sae, entry["from"], budget, n_layers, 1)
    if "specialised" in asked["auto"]:
        for root in auto_roots(n_layers):
            budget = min(AUTO_BUDGETS) * asked["pilot_fraction"]
            _check_lengths(f"{where}: arms.auto", sae, root, budget, n_layers, PILOT_BATCHES)


def _check_transfers(where: str, settings: Mapping[str, Any], n_layers: int) -> None:
    """A neighbour to start from, and at least one batch for every SAE after the first."""
    budgets, sae = settings["arms"]["transfer"]["budgets"], settings["sae"]
    if budgets and n_layers == 1:
        raise InputError(
            f"{where}: arms.transfer starts from the SAE of a neighbouring layer, but one layer is"
            " studied: write arms.transfer: {}."
        )
    for budget in budgets:
        try:
            variant = transfer_variant(n_layers, budget)
            length_of(sae, variant, n_cluster_layers=1)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def _check_crosscoders(where: str, settings: Mapping[str, Any], n_layers: int) -> None:
    """Clusters of several layers, and the architecture that crosscoders have here."""
    asked, architecture = settings["arms"]["crosscoder"], settings["sae"]["architecture"]
    if not asked["budgets"]:
        return
    if max(asked["counts"]) >= n_layers:
        raise InputError(
            f"{where}: arms.crosscoder asks for {max(asked['counts'])} clusters, but {n_layers}"
            f" layers are studied, and of one layer a crosscoder is its SAE: use numbers from 1 to"
            f" {n_layers - 1}."
            if n_layers > 1
            else f"{where}: arms.crosscoder gives several layers one code, but one layer is"
            " studied: write arms.crosscoder: {}."
        )
    if architecture != "topk":
        raise InputError(
            f"{where}: arms.crosscoder asks for TopK crosscoders, but sae.architecture is"
            f" {architecture}, and arms must not differ in it: write sae.architecture: topk, or"
            " arms.crosscoder: {}."
        )


def _check_browser(where: str, settings: Mapping[str, Any], n_layers: int | None) -> None:
    """An arm that the page can show. As many clusters as layers are per-layer SAEs."""
    asked, kinds = settings["arms"], settings["browser"]["arms"]
    there = {
        "per-layer": True,
        "shared": any(count != n_layers for count in asked["shared"]["counts"]),
        "specialised": bool(asked["specialised"]),
    }
    if kinds and not any(there[kind] or kind in asked["auto"] for kind in kinds):
        raise InputError(
            f"{where}: browser.arms asks for {' and '.join(kinds)} SAEs, of which the section arms"
            " has none: add per-layer, or write browser.arms: []."
        )


def _check_lengths(
    key: str, sae: Mapping[str, Any], root: int, budget: float, n_layers: int, n_batches: int
) -> None:
    """Enough batches for children, and for roots of as many layers as they have in the mean.

    A root gets activations by its layers, which clustering decides; the plan looks at each.
    """
    shared = budget * sae["specialise"]["shared_fraction"] * n_layers
    shares = {
        "shared SAEs": shared / root,
        "SAEs that start from them": (budget * n_layers - shared) / n_layers,
    }
    for who, share in shares.items():
        n_tokens = sae["training_tokens"] * share
        batch_size = own_batch_size(sae, n_tokens)
        if n_tokens < n_batches * batch_size:
            many = "one batch" if n_batches == 1 else f"{n_batches} batches (for pilots)"
            raise InputError(
                f"{key} leaves {n_tokens:.0f} activations for each of the {who} (from {root}),"
                f" fewer than {many} of {batch_size}. Raise the budget, sae.training_tokens or,"
                " for auto, arms.pilot_fraction; or lower sae.batch_size."
            )
