"""How well a judge recognises latents by its own words.

Both scores are balanced accuracies, (share of right among active + among silent examples) / 2;
one half is chance. Detection asks in which passages a latent is active, fuzzing whether it is the
marked tokens that it is active on.
"""

import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from clustersae.features.judge.asking import Judge
from clustersae.features.judge.contexts import Latent
from clustersae.features.judge.examples import (
    Example,
    detection,
    explanation_passages,
    fuzzing,
    separator_of,
)
from clustersae.features.judge.questions import detect, explain, fuzz
from clustersae.runtime.log import Progress

KINDS = {"detection": detect, "fuzzing": fuzz}
COLUMNS = (
    *("variant", "partition", "seed", "cluster", "latent", "layer", "explained_on", "kind"),
    *("n_examples", "n_unanswered", "balanced_accuracy", "explanation"),
)


def score_all(
    judge: Judge, latents: Sequence[Latent], n_examples: int, seed: int, concurrency: int
) -> list[dict[str, Any]]:
    """`score` of every latent, in their order; `concurrency` of them at a time.

    Raises:
        InputError: the judge had to be given up; what is under way ends first, nothing new begins.
    """
    separator = separator_of(context for latent in latents for context in latent.shown)
    progress = Progress("Judging", len(latents))
    executor = ThreadPoolExecutor(concurrency)
    try:
        futures: list[Future] = [
            executor.submit(score, judge, latent, n_examples, separator, seed) for latent in latents
        ]
        for future in as_completed(futures):
            future.result()
            progress.update()
    except BaseException:
        judge.stop()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        progress.close()
    return [row for future in futures for row in future.result()]


def score(
    judge: Judge, latent: Latent, n_examples: int, separator: str, seed: int
) -> list[dict[str, Any]]:
    """One row per layer and kind.

    Args:
        n_examples: in one question, at most, half of them of each answer.
        separator: between tokens.
        seed: of the order of examples, and of the tokens marked wrongly.
    """
    explanation = judge.ask(explain(explanation_passages(latent.shown, separator)))
    rows = []
    for layer, kind, sets in _examples(latent, n_examples, separator, seed):
        answers = [_ask(judge, kind, explanation, examples) for examples in sets]
        answered = [pair for answer in answers for pair in answer or ()]
        n_asked = sum(map(len, sets))
        rows.append(
            latent.label
            | {
                "layer": layer,
                "explained_on": latent.layer,
                "kind": kind,
                "n_examples": n_asked,
                "n_unanswered": n_asked - len(answered),
                "balanced_accuracy": balanced_accuracy(answered),
                "explanation": explanation or "",
            }
        )
    return rows


def balanced_accuracy(answered: Sequence[tuple[bool, bool]]) -> float:
    """Of pairs (truth, answer); NaN unless both truths occur."""
    rates = []
    for truth in (True, False):
        right = [answer == truth for real, answer in answered if real == truth]
        rates.append(sum(right) / len(right) if right else math.nan)
    return sum(rates) / 2


def _examples(
    latent: Latent, n_examples: int, separator: str, seed: int
) -> Iterator[tuple[int, str, list[list[Example]]]]:
    """(layer, kind, one set of examples per question)."""
    for layer, contexts in latent.held_out.items():
        held_out = contexts[: n_examples // 2]
        own = f"{seed} {sorted(latent.label.items())} {layer}"
        silent = latent.counterexamples[layer]
        if silent:
            examples = detection(held_out, silent, separator, random.Random(f"{own} detection"))
            yield layer, "detection", [examples]
        yield layer, "fuzzing", fuzzing(held_out, separator, random.Random(f"{own} fuzzing"))


def _ask(
    judge: Judge, kind: str, explanation: str | None, examples: list[Example]
) -> list[tuple[bool, bool]] | None:
    """(truth, answer) of each example; None if the question remains unanswered."""
    if explanation is None:
        return None
    answers = judge.ask(KINDS[kind](explanation, [example.text for example in examples]))
    return answers and list(zip((example.active for example in examples), answers))
