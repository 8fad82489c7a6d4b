"""Can the model do a task? If so, record what circuits are found and judged with."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clustersae.activations.mask import load_limits
from clustersae.circuits.ablation import Ablation
from clustersae.circuits.assessment import assess
from clustersae.circuits.storage import save_recordings
from clustersae.circuits.tasks.prepare import TaskPairs, prepare
from clustersae.circuits.tasks.prompts import prompt_line
from clustersae.corpora.build import layout_of
from clustersae.corpora.packing import Layout
from clustersae.corpora.tokenizer import model_tokenizer
from clustersae.models.description import read_description
from clustersae.models.residual import ResidualStream, load_model
from clustersae.runtime import device, log
from clustersae.runtime.files import write_json, write_text

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger(__name__)


def main(
    model_dir: Path,
    task: str | Path,
    output: Path,
    pairs_out: Path,
    recordings_out: Path,
    settings: dict[str, Any],
    ablation: Ablation,
    where: torch.device,
    limits: Path,
    bos: str | None,
) -> None:
    """Write what became of the task (JSON), its pairs as text (JSON Lines) and the recordings.

    Args:
        task: name of a generated task, or a file of prompts.
        settings: the keys `pairs`, `seed`, `method`, `min_pairs`, `min_accuracy`
            and `min_gap` of evaluation.circuits.
        ablation: by which m(∅) is measured.
        limits: file of the norm limits of the studied layers.
        bos: `corpus.bos`, by which prompts begin as documents do; None: text of a model that is
            trained here, which begins with BOS where there is one.
    """
    description = read_description(model_dir)
    loaded = model_tokenizer(model_dir)
    n_train, n_test = settings["pairs"]["train"], settings["pairs"]["test"]
    with_bos = bos is None or layout_of(bos, loaded) is not Layout.NONE
    pairs = prepare(task, loaded, description.n_ctx, n_train, n_test, settings["seed"], with_bos)
    kept = load_limits(limits, description.fingerprint)
    stream = ResidualStream(load_model(model_dir, description, where), description)
    found = assess(
        stream,
        pairs,
        description.d_model,
        # A BOS, or a first token that has nothing to attend to but itself: no SAE has seen either.
        first=1,
        method=settings["method"],
        ablation=ablation,
        layers=kept.layers,
        limits=kept,
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
    log.to(snakemake.log[0])
    torch.set_num_threads(snakemake.threads)
    main(
        model_dir=Path(snakemake.input.description).parent,
        task=snakemake.params.task,
        output=Path(snakemake.output.task),
        pairs_out=Path(snakemake.output.pairs),
        recordings_out=Path(snakemake.output.recordings),
        settings=snakemake.params.settings,
        ablation=snakemake.params.ablation,
        where=device.choose(snakemake.resources.get("gpu", 0)),
        limits=Path(snakemake.input.limits),
        bos=snakemake.params.bos,
    )
