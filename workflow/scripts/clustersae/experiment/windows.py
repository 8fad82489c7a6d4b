"""Which training shards an SAE reads at which step, where not all of them are mixed at once.

With `activations.window`, the training shards are cut into groups of at most that many, and SAEs
read a stream of tokens: window v of it is group v mod W. Where a step lies in the stream follows
from the configuration alone, not from how many tokens shards have in the end. So it is known before
anything is cached which shards a training needs, and how far it is when it has read them.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clustersae.experiment.clusters import FROM, layers_of, start_of
from clustersae.experiment.sae_settings import length_of
from clustersae.experiment.variants import times_read


@dataclass(frozen=True)
class Windows:
    """The windows of a stream of tokens.

    Attributes:
        n_tokens: of the training split.
        n_shards: that hold them, all (nearly) as many.
        size: shards in a window, at most.
    """

    n_tokens: int
    n_shards: int
    size: int

    @property
    def count(self) -> int:
        """Windows until the stream begins again with the first tokens."""
        return math.ceil(self.n_shards / self.size)

    def shards(self, window: int) -> range:
        """The numbers of the shards that are mixed in a window; groups are of (nearly) one size."""
        group = window % self.count
        first, stop = (self.n_shards * each // self.count for each in (group, group + 1))
        return range(first, stop)

    def start(self, window: int) -> int:
        """The place in the stream, in tokens, of the first token of a window."""
        sweep, group = divmod(window, self.count)
        first = self.n_shards * group // self.count
        return sweep * self.n_tokens + self.n_tokens * first // self.n_shards

    def tokens(self, window: int) -> int:
        """How many tokens a window has."""
        return self.start(window + 1) - self.start(window)

    def window_at(self, token: int) -> int:
        """The window that a place in the stream lies in."""
        sweep, rest = divmod(token, self.n_tokens)
        return sweep * self.count + bisect_right(range(self.count), rest, key=self.start) - 1


class Course(NamedTuple):
    """How steps go through windows.

    Attributes:
        times: that each token of a window is read, at one layer each time or at one after another.
    """

    windows: Windows
    batch_size: int
    times: int = 1

    def first_step(self, window: int) -> int:
        """The first step that begins in a window."""
        return -(-self.windows.start(window) * self.times // self.batch_size)

    def window(self, step: int) -> int:
        """The window that a step begins in: all of its batch is read there."""
        return self.windows.window_at(step * self.batch_size // self.times)

    def parts(self, steps: range) -> Iterator[tuple[int, range]]:
        """Each window in which any of the `steps` begin, with those steps."""
        step = steps.start
        while step < steps.stop:
            window = self.window(step)
            stop = min(steps.stop, self.first_step(window + 1))
            yield window, range(step, stop)
            step = stop


def windows_of(activations: Mapping[str, Any]) -> Windows | None:
    """The windows of a section `activations`; None where all training shards are mixed."""
    n_tokens = activations["tokens"]["train"]
    n_shards = math.ceil(n_tokens / activations["shard_tokens"])
    size = activations["window"]
    return Windows(n_tokens, n_shards, size) if size and size < n_shards else None


def shard_sizes(activations: Mapping[str, Any]) -> list[int]:
    """Tokens of every training shard, by the numbers of tokens in the section `activations`."""
    n_tokens = activations["tokens"]["train"]
    each = Windows(n_tokens, math.ceil(n_tokens / activations["shard_tokens"]), 1)
    return [each.tokens(shard) for shard in range(each.n_shards)]


def parts_of(windows: Windows, sae: Mapping[str, Any], variant: str, name: str) -> dict[int, range]:
    """Window → the steps that an SAE is trained for in it, from those of its start on.

    An SAE that is specialised reads on where the one that it starts from has stopped; its steps are
    counted from there, in batches of its own size.

    Args:
        sae: the section of the configuration.
    """
    batch_size, n_steps, times = _length(sae, variant, name)
    first = first_step(sae, variant, name)
    course = Course(windows, batch_size, times)
    return dict(course.parts(range(first, first + n_steps)))


def first_step(sae: Mapping[str, Any], variant: str, name: str) -> int:
    """The tokens that the start of an SAE has read, in batches of the SAE's own size."""
    start = start_of(variant, name)
    if not start or FROM not in name:
        return 0
    batch_size, _, _ = _length(sae, variant, name)
    return -(-reached(sae, *start) // batch_size)


def reached(sae: Mapping[str, Any], variant: str, name: str) -> int:
    """How many tokens of the stream an SAE and what it starts from have read."""
    batch_size, n_steps, times = _length(sae, variant, name)
    return (first_step(sae, variant, name) + n_steps) * batch_size // times


def _length(sae: Mapping[str, Any], variant: str, name: str) -> tuple[int, int, int]:
    """Rows of a batch, steps, and how often each token is read."""
    n_layers = len(layers_of(name))
    return *length_of(sae, variant, n_layers), times_read(variant, n_layers)
