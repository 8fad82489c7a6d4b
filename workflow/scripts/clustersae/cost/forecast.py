"""What an experiment will cost, from its configuration and the shape of its model.

The only place where it is priced before it has run: `snakemake plan` and `clustersae init` both
ask here. An arm is priced as in the cost model of Group-SAE, A + K·T: A the forward pass over the
tokens that it reads, T the training of one full per-layer SAE, both with dense products; and as it
is done here, where decoders are sparse and blocks after the last studied layer are not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clustersae.cost.jobs import jobs_of
from clustersae.cost.memory import needed, token_bytes
from clustersae.cost.supposed import supposed_partitions
from clustersae.experiment.arms import SAE, Arm, baseline, measured_as
from clustersae.experiment.clusters import layers_of
from clustersae.experiment.flops import dense_flops
from clustersae.experiment.layers import studied_layers
from clustersae.experiment.plan import Plan
from clustersae.experiment.planning import make_pilots, make_plan
from clustersae.experiment.sae_settings import SAESettings, learning_rates, resolve
from clustersae.experiment.shape import Shape
from clustersae.experiment.streaming import N_PASSING, made
from clustersae.experiment.windows import parts_of, reached, windows_of

#: A checkpoint holds the weights and Adam's two moments.
COPIES = 3


class ArmPrice(NamedTuple):
    """What an arm takes with one seed, and one learning rate for each SAE.

    Attributes:
        budget: its training over that of all full per-layer SAEs.
        n_saes: that serve its layers.
        n_trained: those that these start from included.
        dense: operations, A + K·T.
        here: operations as they are done here, Adam's included; `caching` those of A among them.
        measured_as: the first arm with the same SAEs; its own name where it is that.
    """

    name: str
    budget: float
    n_saes: int
    n_trained: int
    activations: int
    dense: int
    here: int
    caching: int
    measured_as: str


@dataclass(frozen=True)
class Forecast:
    """What a whole run takes.

    Attributes:
        arms: of the plan.
        n_layers: studied.
        dense_caching, dense_training: A, of all training tokens, and T; see the module.
        n_saes: that are trained for each seed, those of pilots included; arms share some.
        n_seeds: of each.
        activations: of all trainings, seeds and trials of learning rates included.
        training_flops: of these, as they are done here.
        caching_flops: of all splits, as they are done here.
        cache_bytes, sae_bytes: on disk; of shards that do not stay, those that are there at once.
        checkpoint_bytes: on disk, of the largest training while it runs.
        waiting_bytes: on disk, where shards do not stay: checkpoints of all trainings, which go on
            when the next window is there.
        memory: of one job, by rule.
        jobs: of a run of everything, by rule.
    """

    arms: tuple[ArmPrice, ...]
    n_layers: int
    dense_caching: int
    dense_training: int
    n_saes: int
    n_seeds: int
    activations: int
    training_flops: int
    caching_flops: int
    cache_bytes: int
    sae_bytes: int
    checkpoint_bytes: int
    waiting_bytes: int
    memory: Mapping[str, int]
    jobs: Mapping[str, int]


def forecast(
    settings: Mapping[str, Any],
    shape: Shape,
    partitions: Mapping[str, Any] | None = None,
    plan: Plan | None = None,
) -> Forecast:
    """The price of one model's experiment.

    Args:
        settings: complete, of one model.
        partitions: content of partitions.json; without, `supposed_partitions`.
        plan: what is trained; by default what the configuration asks for, without what pilots will
            add.
    """
    layers = studied_layers(settings["activations"]["layers"], shape.n_layers)
    partitions = partitions or supposed_partitions(layers, settings["arms"])
    plan = plan or make_plan(partitions, settings)
    pilots = make_pilots(partitions, settings) if settings["arms"]["auto"] else None
    saes = dict.fromkeys([*plan.trained_saes, *(pilots.trained_saes if pilots else [])])
    prices = _Prices(settings, shape, layers, saes)
    same = measured_as(plan.arms)
    names = {(arm.variant, arm.partition): arm.name for arm in plan.arms}
    return Forecast(
        arms=tuple(prices.arm(arm, names[same[arm.variant, arm.partition]]) for arm in plan.arms),
        n_layers=len(layers),
        dense_caching=shape.forward() * settings["activations"]["tokens"]["train"],
        dense_training=prices.full(baseline(plan.arms)),
        n_saes=len(saes),
        n_seeds=len(plan.seeds),
        **prices.of_all(len(plan.seeds)),
        **prices.of_disk(len(plan.seeds)),
        memory=needed(settings, shape, layers, prices.saes, plan),
        jobs=jobs_of(settings, plan, pilots),
    )


class _Prices:
    """Sums over the SAEs of one experiment; `saes` are all that are trained."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        shape: Shape,
        layers: Sequence[int],
        saes: Mapping[SAE, Any],
    ) -> None:
        self.sae, self.activations = settings["sae"], settings["activations"]
        self.dtype, self.caches = settings["dtype"], not settings["same_as"]
        self.shape, self.layers = shape, layers
        self.saes = {each: self._resolved(*each) for each in saes}
        self.windows = windows_of(self.activations)
        streamed = self.windows and not self.activations["keep"]
        #: SAE → the windows that it reads, where shards do not stay.
        self.read = {each: self._windows(each) for each in saes} if streamed else {}
        #: Operations per token as they are done here.
        self.forward = shape.forward(max(layers) + 1)

    def _resolved(self, variant: str, name: str) -> SAESettings:
        return resolve(self.sae, variant, len(layers_of(name)), self.shape.d_model, seed=0)

    def full(self, alone: Arm) -> int:
        return self._dense(alone.saes[0])

    def _dense(self, each: SAE) -> int:
        own = self.saes[each]
        return own.n_activations * dense_flops(self.shape.d_model, own.d_sae)

    def arm(self, arm: Arm, same: str) -> ArmPrice:
        train = self.activations["tokens"]["train"]
        n_read = max(reached(self.sae, *each) for each in arm.trained)
        n_read = n_read if self.read else min(train, n_read)
        own = [self.saes[each] for each in arm.trained]
        training = sum(each.total_flops(self.shape.d_model) for each in own)
        caching = n_read * self.forward
        return ArmPrice(
            name=arm.name,
            budget=arm.matched_count / len(self.layers),
            n_saes=arm.count,
            n_trained=len(own),
            activations=sum(each.n_activations for each in own),
            dense=n_read * self.shape.forward() + sum(map(self._dense, arm.trained)),
            here=caching + training,
            caching=caching,
            measured_as=same,
        )

    def of_all(self, n_seeds: int) -> dict[str, int]:
        """All trainings and all caching."""
        activations, flops = 0, 0
        for (variant, _), own in self.saes.items():
            # All learning rates with the first seed, the best of them with the others.
            n_trainings = len(learning_rates(self.sae, variant)) + n_seeds - 1
            activations += n_trainings * own.n_activations
            flops += n_trainings * own.total_flops(self.shape.d_model)
        return {
            "activations": activations,
            "training_flops": flops,
            "caching_flops": self._n_tokens() * self.forward,
        }

    def _windows(self, each: SAE) -> list[int]:
        assert self.windows is not None
        return list(parts_of(self.windows, self.sae, *each))

    def _n_tokens(self, at_once: bool = False) -> int:
        """That are cached; a model that is the `same_as` another reads those of the other.

        Args:
            at_once: only as many as are on the disk together.
        """
        if not self.caches:
            return 0
        tokens = self.activations["tokens"]
        if not self.windows or not self.read:
            return sum(tokens.values())
        last = max(windows[-1] for windows in self.read.values())
        passing = [self.windows.tokens(each) for each in made(self.windows, last)]
        counted = sorted(passing, reverse=True)[: N_PASSING if at_once else None]
        return tokens["validation"] + tokens["test"] + self.windows.tokens(0) + sum(counted)

    def _token_bytes(self) -> float:
        dtype, shape = self.activations["dtype"], self.shape
        return token_bytes(len(self.layers), shape.d_model, shape.n_ctx, dtype)

    def _weights(self, each: SAE) -> int:
        return self.saes[each].weight_bytes(self.shape.d_model)

    def of_disk(self, n_seeds: int) -> dict[str, int]:
        return {
            "cache_bytes": round(self._n_tokens(at_once=True) * self._token_bytes()),
            "sae_bytes": n_seeds * sum(map(self._weights, self.saes)),
            # Several learning rates leave one each until the best is known.
            "checkpoint_bytes": max(
                COPIES * self._weights(each) * len(learning_rates(self.sae, each[0]))
                for each in self.saes
            ),
            "waiting_bytes": n_seeds
            * sum(
                COPIES * self._weights(each) * len(learning_rates(self.sae, each[0]))
                for each, windows in self.read.items()
                if len(windows) > 1
            ),
        }
