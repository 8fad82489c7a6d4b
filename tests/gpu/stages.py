"""The stages in the order of their worth, and what each of them is given."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clustersae.runtime.errors import InputError
from gpu.record import Record

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
#: Sizes and limits of all stages; another file with the same keys can take its place.
SETTINGS = HERE / "full.yaml"


@dataclass(frozen=True)
class Stage:
    """One stage: the module's function `run` takes a `Job`."""

    letter: str
    name: str
    title: str
    module: str

    @property
    def file(self) -> str:
        return f"{self.letter}-{self.name}.json"


STAGES = (
    Stage("a", "tests", "Every kernel against its reference", "gpu.checks"),
    Stage("b", "steps", "One SAE step beside those of other trainers", "gpu.steps"),
    Stage("c", "characters", "The published character model, with generation", "gpu.characters"),
    Stage("d", "speed", "Training speed of enwik8 and text8 on a stand-in", "gpu.speed"),
    Stage("e", "model", "A real model: caching, then the full comparison", "gpu.real_model"),
    Stage("f", "character-saes", "SAEs of the character model", "gpu.character_saes"),
    Stage("g", "growth", "Growth of a step over latents and k", "gpu.growth"),
)


@dataclass
class Job:
    """What a stage works with.

    Attributes:
        settings: of the stage.
        work: the folder whose contents last from one call to the next.
        ends: when its time is over, by `time.monotonic()`.
    """

    settings: dict[str, Any]
    work: Path
    record: Record
    where: "torch.device"
    ends: float

    def left(self) -> float:
        """Seconds until the stage is stopped."""
        return self.ends - time.monotonic()

    def file(self, name: str) -> Path:
        """A file that was packed.

        Raises:
            InputError: it is not here, or not whole.
        """
        path = self.work / "files" / name
        if not path.is_file():
            raise InputError(
                f"{name} is not in {path.parent}: a piece is missing, name its folder as --pack."
            )
        return path

    def preset(self, key: str = "preset") -> dict[str, Any]:
        """The configuration that the stage's settings name, with their `changes` to it."""
        path = REPOSITORY / self.settings[key]
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return merged(given, self.settings.get("changes") or {})


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `changes`, section by section."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if nested else copy.deepcopy(value)
    return result


def chosen(letters: str | None) -> list[Stage]:
    """The stages of "a,b", in their order; all of them for None.

    Raises:
        InputError: there is no such stage.
    """
    if letters is None:
        return list(STAGES)
    asked = {letter.strip() for letter in letters.split(",") if letter.strip()}
    unknown = asked - {stage.letter for stage in STAGES}
    if unknown:
        known = ", ".join(f"{stage.letter} {stage.name}" for stage in STAGES)
        raise InputError(f"--stages has {', '.join(sorted(unknown))}; there are {known}.")
    return [stage for stage in STAGES if stage.letter in asked]


def read_settings(path: Path) -> dict[str, Any]:
    """The settings file: `device`, and one section for each stage.

    Raises:
        InputError: it is not there, or lacks a stage.
    """
    if not path.is_file():
        raise InputError(f"--settings {path} does not exist: name a file such as {SETTINGS.name}.")
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    lacking = [stage.letter for stage in STAGES if stage.letter not in settings]
    if lacking:
        raise InputError(f"{path} has no section {lacking[0]}: copy it from {SETTINGS}.")
    return settings
