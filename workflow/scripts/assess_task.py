"""Can the model do a task? If so, record what circuits are found and judged with."""

import logging
from pathlib import Path
from typing import Any

import torch

from clustersae.activations.mask import load_limits
from clustersae.circuits.ablation import Ablation
from clustersae.circuits.assessment import assess
from clustersae.circuits.storage import save_recordings
from clustersae.circuits.tasks.prepare import TaskPairs, prepare
from clustersae.circuits.tasks.prompts import prompt_line
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.models.description import read_description
from clustersae.models.loading import load_model
from clustersae.models.residual import ResidualStream
from clustersae.runtime import device, job
from clustersae.runtime.files import write_json, write_text

logger = logging.getLogger(__name__)


def main(
    model_dir: Path,
    limits: Path,
    task: str | Path,
    output: Path,
    pairs_out: Path,
    recordings_out: Path,
    settings: dict[str, Any],
    ablation: Ablation,
    where: torch.device,
) -> None:
    """Write what became of the task (JSON), its pairs as text (JSON Lines) and the recordings.

    Args:
        limits: of the norm, outside which positions are left as they are; they name the studied
            layers.
        task: name of a generated task, or a file of prompts.
        settings: the keys `pairs`, `seed`, `method`, `min_pairs`, `min_accuracy`
            and `min_gap` of evaluation.circuits.
        ablation: by which m(∅) is measured.
    """
    description = read_description(model_dir)
    norms = load_limits(limits, description.fingerprint)
    loaded = model_tokenizer(model_dir)
    n_train, n_test = settings["pairs"]["train"], settings["pairs"]["test"]
    pairs = prepare(task, loaded, description.n_ctx, n_train, n_test, settings["seed"])
    stream = ResidualStream(load_model(model_dir, description, where), description)
    found = assess(
        stream,
        pairs,
        description.d_model,
        # A BOS, or a first token that has nothing to attend to but itself: no SAE has seen either.
        first=1,
        method=settings["method"],
        ablation=ablation,
        layers=norms.layers,
        limits=norms,
        left_out=loaded.vocabulary.excluded_ids,
        **{key: settings[key] for key in ("min_pairs", "min_accuracy", "min_gap")},
    )
    logger.info("%s", found.record["reason"] or f"{pairs.summary()} The model can do it.")
    write_text(pairs_out, _lines(pairs))
    save_recordings(recordings_out, found.recordings, found.runs, description.fingerprint)
    write_json(output, found.record)


def _lines(pairs: TaskPairs) -> str:
    splits = (("train", pairs.train), ("test", pairs.test))
    return "".join(prompt_line(pair.text, split=name) for name, part in splits for pair in part)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        limits=Path(snakemake.input.limits),
        task=snakemake.params.task,
        output=Path(snakemake.output.task),
        pairs_out=Path(snakemake.output.pairs),
        recordings_out=Path(snakemake.output.recordings),
        settings=snakemake.params.settings,
        ablation=snakemake.params.ablation,
        where=device.choose(snakemake.resources.get("gpu", 0)),
    )
