"""Let a language model explain latents, and recognise them by its explanations."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from clustersae.features.judge.asking import Judge
from clustersae.features.judge.contexts import read_latents
from clustersae.features.judge.scoring import COLUMNS, score_all
from clustersae.features.judge.store import Store
from clustersae.runtime import job
from clustersae.runtime.errors import InputError
from clustersae.runtime.files import replacing


def main(contexts: Path, scores: Path, store: Path, settings: dict[str, Any], seed: int) -> None:
    """Write one row per latent, layer and kind of score.

    Args:
        contexts: top-activating contexts of the latents of an arm.
        store: the judge's replies, kept from run to run, also from one that fails.
        settings: `evaluation.judge`.
        seed: of the choice of latents and examples.
    """
    if not settings["base_url"]:
        raise InputError("There is no judge to ask: set evaluation.judge.base_url and model.")
    n_examples = settings["examples"]
    key = os.environ.get(settings["key_variable"], "").strip() or None
    of_judge = {name: settings[name] for name in ("base_url", "model", "timeout", "retries")}
    judge = Judge(**of_judge, key=key, store=Store(store))
    rows = []
    for latents in read_latents(contexts, settings["latents"], n_examples, seed):
        rows += score_all(judge, latents, n_examples, seed, settings["concurrency"])
    judge.conclude()
    with replacing(scores) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False)


if __name__ == "__main__":
    job.start(snakemake)
    main(
        contexts=Path(snakemake.input.contexts),
        scores=Path(snakemake.output.scores),
        store=Path(snakemake.params.store),
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
    )
