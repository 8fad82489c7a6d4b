"""Train a language model from scratch on a corpus, and check that it does its tasks."""

import dataclasses
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel

from clustersae.corpora.tokens import read_tokens
from clustersae.pretraining import competence
from clustersae.pretraining.architecture import Architecture, build_model
from clustersae.pretraining.settings import TrainingSettings
from clustersae.pretraining.training import Learning, train
from clustersae.runtime import device, job
from clustersae.runtime.checkpoint import Checkpoint, identity
from clustersae.runtime.files import replacing, write_json
from clustersae.runtime.tensors import checksum

logger = logging.getLogger(__name__)


def main(
    train_tokens: Path,
    validation_tokens: Path,
    tokenizer_files: list[Path],
    model_dir: Path,
    record: Path,
    architecture: dict[str, Any],
    training: dict[str, Any],
    check_tasks: bool,
    on: torch.device,
    code: str = "",
) -> None:
    """Train a GPT-2 and write it as a Hugging Face directory.

    A killed training goes on from the checkpoint that it left in `model_dir`.

    Args:
        train_tokens, validation_tokens: token files; their rows are as long as the model's n_ctx.
        tokenizer_files: tokenizer.json and tokenizer_config.json, copied beside the model.
        record: JSON with settings, learning curve, seconds and task scores.
        architecture: the fields of `Architecture` but n_ctx.
        training: the fields of `TrainingSettings`.
        check_tasks: the corpus is toy English, and a model that has not learnt its tasks is
            refused.
        code: digest of the code; an interrupted training of other code is not continued.
    """
    settings = TrainingSettings(**{**training, "betas": tuple(training["betas"])})
    corpus = read_tokens(train_tokens)
    validation = read_tokens(validation_tokens)
    shape = Architecture(**architecture, n_ctx=corpus.tokens.shape[1])
    vocabulary = corpus.vocabulary
    model = build_model(
        shape,
        vocabulary.vocab_size,
        vocabulary.bos_id,
        vocabulary.pad_id,
        settings.seed,
        settings.dropout,
    ).to(on)  # type: ignore[arg-type]  # transformers' wrapper of `to` loses its `self`
    started, cpu_started = time.perf_counter(), time.process_time()
    same = identity(
        settings,
        architecture=dataclasses.asdict(shape),
        text=checksum({"train": corpus.tokens, "validation": validation.tokens}),
        device=on.type,
        code=code,
        torch=torch.__version__,
    )
    checkpoint = Checkpoint(
        model_dir / "checkpoint.safetensors", same, elapsed=lambda: time.perf_counter() - started
    )
    learning = train(
        model,
        corpus.tokens,
        validation.tokens,
        settings,
        vocabulary.pad_id,
        vocabulary.bos_id,
        checkpoint,
    )
    seconds = checkpoint.seconds + time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_started
    scores = competence.toy_english_scores(model) if check_tasks else {}
    for task, score in scores.items():
        logger.info("%s: %s", task, score)
    if check_tasks:
        competence.require(scores)
    _save(model, tokenizer_files, model_dir)
    write_json(
        record,
        {
            **_figures(learning, seconds),
            "architecture": dataclasses.asdict(shape),
            "training": dataclasses.asdict(settings),
            "n_parameters": model.num_parameters(),
            "n_trained_parameters": model.num_parameters(only_trainable=True),
            "n_train_rows": len(corpus.tokens),
            "source": corpus.source,
            "source_sha256": corpus.source_sha256,
            "device": str(on),
            "device_name": torch.cuda.get_device_name(on) if on.type == "cuda" else "cpu",
            "n_threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),  # since the training was last taken up
            "resumed_at_step": learning.resumed_at,
            "validation_loss": learning.best.validation_loss,
            "curve": [point._asdict() for point in learning.curve],
            "train_losses": dict(zip(("step", "loss"), zip(*learning.logged))),
            "tasks": {task: score._asdict() for task, score in scores.items()},
        },
    )
    checkpoint.path.unlink(missing_ok=True)


def _figures(learning: Learning, seconds: float) -> dict[str, Any]:
    """What the published record says of a training, in its own words."""
    return {
        "final_train_loss": learning.logged[-1][1],
        "best_val_loss": learning.best.validation_loss,
        "total_train_time": seconds,
    }


def _save(model: GPT2LMHeadModel, tokenizer_files: list[Path], model_dir: Path) -> None:
    """Write the files of a Hugging Face model directory, each whole or not at all."""
    with tempfile.TemporaryDirectory() as temporary:
        model.save_pretrained(temporary)
        saved = [Path(temporary) / name for name in ("model.safetensors", "config.json")]
        for file in (*saved, *tokenizer_files):
            with replacing(model_dir / file.name) as destination:
                shutil.copyfile(file, destination)


if __name__ == "__main__":
    job.start(snakemake)
    torch.set_num_threads(snakemake.threads)
    main(
        train_tokens=Path(snakemake.input.train),
        validation_tokens=Path(snakemake.input.validation),
        tokenizer_files=[Path(snakemake.input.tokenizer), Path(snakemake.input.tokenizer_config)],
        model_dir=Path(snakemake.output.weights).parent,
        record=Path(snakemake.output.record),
        architecture=snakemake.params.architecture,
        training=snakemake.params.training,
        check_tasks=snakemake.params.check_tasks,
        code=snakemake.params.code,
        on=device.choose(snakemake.resources.get("gpu", 0)),
    )
