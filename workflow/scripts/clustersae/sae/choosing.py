"""Which learning rate is the best: of several fits one is taken, by the validation split."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from clustersae.experiment.architectures import ARCHITECTURES
from clustersae.experiment.sae_settings import SAESettings
from clustersae.sae.fitting import Fit
from clustersae.sae.module import SparseAutoencoder
from clustersae.sae.training import Diverged
from clustersae.sae.validation import Validation

logger = logging.getLogger(__name__)

#: As far from k, relative, may the L0 be that a loss holds there.
NEAR_L0 = 0.1


def converged(
    trainings: Iterable[Callable[[], Fit]], diverged: list[Mapping[str, float]]
) -> Iterator[Fit]:
    """The fits of those trainings that do not diverge: one rate of several may be too high.

    Args:
        diverged: what the others cost is put here.

    Raises:
        Diverged: all do.
    """
    last, found = None, False
    for training in trainings:
        try:
            yield training()
            found = True
        except Diverged as error:
            logger.warning("%s", error)
            diverged.append(error.cost)
            # Without the frames that it came through, which hold that training's memory.
            last = error.with_traceback(None)
    if last and not found:
        raise last


class Choice(NamedTuple):
    """The fit that was taken of several.

    Attributes:
        scores: of every learning rate that was tried.
        seconds: of the fits that were not taken.
    """

    fit: Fit
    scores: dict[str, Validation]
    seconds: float


def best_fit(
    fits: Iterable[Fit], score: Callable[[SparseAutoencoder], Validation], max_dead: float
) -> Choice:
    """The fit of the least FVU among those with few dead latents and the L0 that was aimed at.

    FVU alone would favour high rates, which kill latents: over a short training fewer latents that
    learn fast reconstruct better. Where every fit has too many dead latents, the one with the
    fewest is taken. Before both comes L0 where a loss holds it to k, as a low rate may not bring it
    there: where none does, the fit that comes nearest is taken.

    `fits` may be a generator: no more than two SAEs are held at once.

    Args:
        max_dead: share of the latents that may be dead.
    """
    best, best_name, seconds = None, "", 0.0
    best_rank: tuple[float, ...] = ()
    scores: dict[str, Validation] = {}
    for each in fits:
        name = f"{each.settings.learning_rate:g}"
        scores[name] = score(each.sae)
        seconds += each.record["seconds"]
        rank = _rank(scores[name], max_dead, _aim(each.settings))
        if best is None or rank < best_rank:
            best, best_name, best_rank = each, name, rank
        del each  # or the worse of two would be held while a third is trained
    if best is None:
        raise ValueError("There is no fit to choose from.")
    if len(scores) > 1:
        _say_which(best_name, scores, max_dead, _aim(best.settings))
    return Choice(best, scores, seconds - best.record["seconds"])


def _aim(settings: SAESettings) -> int | None:
    aims = ARCHITECTURES[settings.architecture].aims_at_k and settings.sparsity
    return settings.k if aims else None


def _missed_by(score: Validation, aim: int | None) -> float:
    """How far L0 is from what was aimed at, over that; 0 where it is near enough."""
    missed = abs(score.l0 / aim - 1) if aim else 0.0
    return missed if missed > NEAR_L0 else 0.0


def _rank(score: Validation, max_dead: float, aim: int | None) -> tuple[float, ...]:
    """Smaller is better."""
    if not math.isfinite(score.fvu):
        return (3,)
    if missed := _missed_by(score, aim):
        return (2, missed)
    if score.dead_fraction <= max_dead:
        return (0, score.fvu)
    return (1, score.dead_fraction, score.fvu)


def _say_which(
    best: str, scores: Mapping[str, Validation], max_dead: float, aim: int | None
) -> None:
    told = ", ".join(
        f"{name}: FVU {each.fvu:.4g}, L0 {each.l0:.3g}, {each.dead_fraction:.0%} dead"
        for name, each in scores.items()
    )
    logger.info("Learning rate %s is the best (%s)", best, told)
    if _missed_by(scores[best], aim):
        logger.warning(
            "At no learning rate does L0 come within %g %% of sae.k = %s; the rate that comes"
            " nearest is taken. Higher rates, a longer training or a larger sae.sparsity do more.",
            100 * NEAR_L0,
            aim,
        )
    if scores[best].dead_fraction > max_dead:
        logger.warning(
            "At no learning rate are so few latents dead as sae.max_dead asks for (%g); the rate"
            " with the fewest is taken. Lower rates, a longer training or a smaller sae.d_sae"
            " leave fewer.",
            max_dead,
        )
    rates = sorted(map(float, scores))
    if len(rates) > 2 and float(best) in (rates[0], rates[-1]):
        logger.warning("It is the first or last of them: a better one may lie outside.")
