"""How many activations every SAE is trained on, so that a number of seeds fits into the time."""

import shutil
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import train_sae

from clustersae.experiment.sae_settings import learning_rates
from clustersae.experiment.variants import BASE
from clustersae.runtime.files import read_json
from gpu.comparison import Experiment

PILOT = Path("pilot")


def settle(experiment: Experiment, asked: dict[str, Any]) -> None:
    """Set `sae.training_tokens` by what a short training takes here; once, for all later calls.

    Args:
        asked: `seeds` are to be trained in `seconds`, each SAE on as many activations as lie
            `between` two bounds; the trainings that are timed have `steps`.
    """
    record, settings = experiment.job.record, experiment.settings["sae"]
    if not record.has("affordable", "training_tokens"):
        for _ in range(2):  # the first one warms up
            seconds = _pilot(experiment, asked["steps"])
        found = affordable(
            read_json(experiment.folder / "plan.json")["saes"],
            settings,
            seconds / (asked["steps"] * settings["batch_size"]),
            asked,
        )
        record.put(affordable=found)
    experiment.train_on(record.content["affordable"]["training_tokens"])


def affordable(
    saes: list[dict[str, Any]],
    settings: dict[str, Any],
    seconds_per_activation: float,
    asked: dict[str, Any],
) -> dict[str, Any]:
    """`training_tokens` in whole batches, and what it follows from.

    Args:
        saes: of plan.json, as it is with the `training_tokens` of `settings`, the section `sae`.
    """
    # The first seed tries every learning rate, the others one.
    activations = sum(
        each["training_tokens"]
        * (asked["seeds"] - 1 + len(learning_rates(settings, each["variant"])))
        for each in saes
    )
    share = asked["seconds"] / (seconds_per_activation * activations)
    least, most = asked["between"]
    batch = settings["batch_size"]
    fitting = int(settings["training_tokens"] * share)
    return {
        "training_tokens": min(max(fitting, least), most) // batch * batch,
        "fitting": fitting,
        "activations_per_second": 1 / seconds_per_activation,
        "saes_per_seed": len(saes),
    }


def _pilot(experiment: Experiment, n_steps: int) -> float:
    """Seconds of a training of a full-size SAE of the first layer, with all that it writes."""
    layer = experiment.plan.evaluated_saes[0][1]
    at = experiment.of(variant=BASE, sae=layer)
    own = experiment.params.sae(at)
    own |= {"training_tokens": n_steps * own["batch_size"]}
    own |= {"learning_rate": learning_rates(own, BASE)[0], "min_steps": 0}
    shutil.rmtree(PILOT, ignore_errors=True)
    PILOT.mkdir()
    with patch.object(train_sae, "open_shards", experiment.held.open):
        began = time.perf_counter()
        train_sae.main(
            list(map(Path, experiment.inputs.shards("train")(at))),
            experiment.folder / "activations/statistics.safetensors",
            PILOT,
            layer,
            BASE,
            0,
            own,
            [experiment.where],
        )
        seconds = time.perf_counter() - began
    shutil.rmtree(PILOT)
    return seconds
