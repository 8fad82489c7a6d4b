"""A task made ready for one model: pairs to find circuits with, others to judge them by."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clustersae.circuits.tasks.families import FAMILIES, Family
from clustersae.circuits.tasks.fillers import Fillers
from clustersae.circuits.tasks.pairs import Loss, PairMaker, TokenPair
from clustersae.circuits.tasks.prompts import read_prompts
from clustersae.circuits.tasks.splits import split
from clustersae.circuits.tasks.toy import TOY_TASKS, toy_prompts
from clustersae.circuits.tasks.transliteration import in_its_letters
from clustersae.corpora.tokenizer import LoadedTokenizer
from clustersae.experiment.tasks import is_file, task_name
from clustersae.runtime.choices import Chooser
from clustersae.runtime.errors import InputError
from clustersae.runtime.words import counted

#: A generator gives up after so many draws in a row without a new pair.
FRUITLESS_DRAWS = 200


@dataclass(frozen=True)
class TaskPairs:
    """The usable pairs of a task, and what became of the others."""

    task: str  # a file without its folder and suffix
    train: list[TokenPair]
    test: list[TokenPair]
    n_tried: int
    n_usable: int  # train and test, and what exceeds the numbers asked for
    lost: Mapping[Loss, int]

    def row(self) -> dict[str, str | int]:
        """The counts, as a row of a table."""
        counts = {"n_tried": self.n_tried, "n_usable": self.n_usable}
        counts |= {"n_train": len(self.train), "n_test": len(self.test)}
        return {"task": self.task, **counts, **{f"lost_{loss}": self.lost[loss] for loss in Loss}}

    def summary(self) -> str:
        """The counts, as a sentence."""
        if not self.n_tried:
            return f"{self.task}: no words of equal token length, known to the tokenizer, fill it."
        causes = ", ".join(f"{loss} {count}" for loss, count in self.lost.items() if count)
        return (
            f"{self.task}: {self.n_usable} of {counted(self.n_tried, 'pair')} are usable"
            f" ({len(self.train)} for training, {len(self.test)} for test)."
            + (f" Lost: {causes}." if causes else "")
        )


def prepare(
    task: str | Path, loaded: LoadedTokenizer, n_ctx: int, n_train: int, n_test: int, seed: int = 0
) -> TaskPairs:
    """The pairs of a task for a model; a pure function of its arguments and the user's file.

    That few pairs or none are usable is no error: the result says so.

    Args:
        task: a generated family (FAMILIES), one of toy English's (TOY_TASKS), or a file.
        n_train, n_test: at most so many pairs; a generator looks for as many together.

    Raises:
        InputError: there is no such task, or its file is bad.
    """
    loaded = in_its_letters(loaded)
    maker = PairMaker(loaded, n_ctx)
    if task in FAMILIES:
        pairs = _generate(FAMILIES[task], maker, Fillers(loaded.tokenizer), n_train + n_test, seed)
    elif task in TOY_TASKS:
        pairs = maker.make(toy_prompts(task, n_train + n_test, seed))
    elif is_file(str(task)):
        pairs = maker.make(read_prompts(task))
    else:
        raise InputError(
            f"There is no task {task}. Name one of {', '.join((*FAMILIES, *TOY_TASKS))}, or a file"
            " of prompts (.jsonl, .json or .csv)."
        )
    train, test = split(pairs, n_train, n_test)
    lost = {loss: maker.lost[loss] for loss in Loss}
    return TaskPairs(task_name(str(task)), train, test, maker.n_tried, len(pairs), lost)


def _generate(
    family: Family, maker: PairMaker, fillers: Fillers, n_pairs: int, seed: int
) -> list[TokenPair]:
    """Draw blocks of prompts until there are `n_pairs` usable ones, or no new ones are found."""
    choose = Chooser(np.random.default_rng(seed))
    pairs: list[TokenPair] = []
    fruitless = 0
    while len(pairs) < n_pairs and fruitless < FRUITLESS_DRAWS:
        found = maker.make(family(choose, fillers))
        pairs += found
        fruitless = 0 if found else fruitless + 1
    return pairs
