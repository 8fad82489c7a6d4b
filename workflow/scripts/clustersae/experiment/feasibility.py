"""Whether the SAEs that a configuration asks for can be trained, found before any job starts.

Imported by the Snakefile, so it loads nothing heavy.
"""

from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from typing import Any

from clustersae.experiment.arms import TREE
from clustersae.experiment.plan import AUTO, candidates
from clustersae.experiment.sae_settings import own_batch_size, resolve
from clustersae.experiment.variants import scaled_variant
from clustersae.runtime.errors import InputError

#: Clustering methods whose partitions are nested.
HIERARCHICAL = ("complete", "average")

#: The least that a pilot of specialise: auto must get for its FVU to mean anything.
PILOT_BATCHES = 20


def check_saes(
    where: str, settings: Mapping[str, Any], n_layers: int | None, d_model: int | None
) -> None:
    """Enough tokens and latents for every kind of SAE that the experiment will train."""
    sae, evaluation = settings["sae"], settings["evaluation"]
    tokens = settings["activations"]["tokens"]["train"]
    if tokens < sae["batch_size"]:
        raise InputError(
            f"{where}: activations.tokens.train = {tokens} is fewer than one batch of"
            f" sae.batch_size = {sae['batch_size']}. Raise the former or lower the latter."
        )
    variants = ["base"]
    clustering = settings["clustering"]
    if AUTO in (clustering["counts"], clustering["specialise"]):
        variants.append(scaled_variant("tokens", clustering["pilot_fraction"]))
    for count in evaluation["equal_compute"] if n_layers else []:
        share = Fraction(min(count, n_layers), n_layers)
        variants += [scaled_variant(kind, share) for kind in ("tokens", "narrower")]
    budgets = [budget for entry in _entries(clustering) for budget in entry["budgets"]]
    variants += [scaled_variant("tokens", share) for share in (*budgets, *evaluation["lengths"])]
    if d_model is None and not sae["d_sae"]:
        sae = {**sae, "d_sae": sae["k"]}  # not to be known before the model is here
        variants = [variant for variant in variants if not variant.startswith("narrower")]
    for variant in variants:
        try:
            resolve(sae, variant, n_cluster_layers=1, d_model=d_model or 0, seed=0)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def check_specialised(where: str, settings: Mapping[str, Any], n_layers: int | None) -> None:
    """Starts that exist, and at least one batch for every SAE on the way."""
    clustering, sae = settings["clustering"], settings["sae"]
    if not clustering["specialise"]:
        return
    key = f"{where}: clustering.specialise"
    entries, scale, n_batches = _entries(clustering), 1.0, 1
    if clustering["specialise"] == AUTO:
        scale, n_batches = clustering["pilot_fraction"], PILOT_BATCHES
        found = candidates(n_layers) if n_layers else []
        entries = [{"from": [root], "budgets": [budget]} for root, budget in found]
    roots = [root for entry in entries for root in entry["from"]]
    method = clustering["methods"][0]
    if TREE in roots and method not in HIERARCHICAL:
        raise InputError(
            f"{key}.from asks for the tree, but {method}, the first of clustering.methods, makes"
            f" none. Put {' or '.join(HIERARCHICAL)} first."
        )
    if n_layers is None:
        return
    if n_layers == 1:
        raise InputError(f"{key} needs several layers to share an SAE, and the model has one.")
    many = [root for root in roots if root != TREE and root >= n_layers]
    if many:
        raise InputError(
            f"{key}.from starts from {many[0]} clusters, but the model has {n_layers} layers: use"
            f" numbers from 1 to {n_layers - 1}, or tree."
        )
    for entry in entries:
        for root, budget in product(entry["from"], entry["budgets"]):
            _check_lengths(key, sae, root, scale * budget, n_layers, n_batches)


def _check_lengths(
    key: str,
    sae: Mapping[str, Any],
    root: int | str,
    budget: float,
    n_layers: int,
    n_batches: int,
) -> None:
    """Enough batches for roots and children, as far as can be known before clustering."""
    shared = budget * sae["specialise"]["shared_fraction"] * n_layers
    # A tree has 2 L - 1 clusters, one of which is the root.
    below = 2 * n_layers - 2 if root == TREE else n_layers
    n_roots = 1 if root == TREE else root
    shares = {
        "shared SAEs": shared / n_roots,
        "SAEs that start from them": (budget * n_layers - shared) / below,
    }
    for who, share in shares.items():
        n_tokens = sae["tokens"] * share
        batch_size = own_batch_size(sae, n_tokens)
        if n_tokens < n_batches * batch_size:
            many = "one batch" if n_batches == 1 else f"{n_batches} batches (for pilots)"
            raise InputError(
                f"{key} leaves {n_tokens:.0f} activations for each of the {who} (from {root}),"
                f" fewer than {many} of {batch_size}. Raise the budget, sae.tokens or, for auto,"
                " clustering.pilot_fraction; or lower sae.batch_size."
            )


def check_counts(where: str, settings: Mapping[str, Any], n_layers: int) -> None:
    clustering, evaluation = settings["clustering"], settings["evaluation"]
    counts = {
        "clustering.counts": [] if clustering["counts"] == AUTO else clustering["counts"],
        "clustering.control_counts": clustering["control_counts"] or [],
        "evaluation.equal_compute": evaluation["equal_compute"],
        "evaluation.equal_exposure": evaluation["equal_exposure"],
    }
    for key, values in counts.items():
        if values and max(values) > n_layers:
            raise InputError(
                f"{where}: {key} asks for {max(values)} clusters, but the model has {n_layers}"
                f" layers: use numbers from 1 to {n_layers}."
            )
    if clustering["counts"] == AUTO:
        return
    for key in ("evaluation.equal_compute", "evaluation.equal_exposure"):
        alone = sorted(set(counts[key]) - set(clustering["counts"]) - {n_layers})
        if alone:
            raise InputError(
                f"{where}: {key} asks for K = {alone[0]}, which clustering.counts does not have:"
                " there would be nothing to compare with. Add it to one or take it from the other."
            )


def _entries(clustering: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of clustering.specialise; none where pilots will settle them."""
    return [] if clustering["specialise"] == AUTO else clustering["specialise"]
