"""Which short jobs share one job of a cluster: functions of wildcards, named in the rules.

Which group a job is in follows from its wildcards and the plan alone: a few SAEs of one variant and
seed, a few arms, always the same. Snakemake works groups out anew whenever a checkpoint has ended;
were they put together as jobs are found, those that run could be mixed with others and submitted
again. How many share one stands in a profile, as `group-components`, by rule; without a profile
there are no groups.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from clustersae.experiment.arms import SAE
from clustersae.experiment.inputs import Inputs, Wildcards

#: What a rule takes: the name of the group of the job with these wildcards; None for no group.
GroupFunction = Callable[[Wildcards], str | None]


class Groups:
    """The groups of an experiment.

    Args:
        inputs: of the same experiment, which know the plan.
        sizes: gives how many jobs of a rule share one, at most: Snakemake's setting
            `group-components`, which is not known yet when rules are read.
        kinds: Snakemake's record of what the names of groups are made from (`parent_groupids`), to
            be added to: jobs that do not depend on each other share a group only if it says how
            many may.
    """

    def __init__(
        self,
        inputs: Inputs,
        sizes: Callable[[], Mapping[str, int]],
        kinds: MutableMapping[str, str],
    ) -> None:
        self.inputs, self.sizes, self.kinds = inputs, sizes, kinds

    def of_trainings(self, rule: str) -> GroupFunction:
        """For a rule with one job per SAE and seed: SAEs of the same variant and seed.

        In the order of the plan, in which chains of transfers are whole: an SAE never waits for one
        of another group that waits for one of its own.
        """

        def place(wildcards: Wildcards) -> tuple[str, int]:
            saes, kind = self._trained(rule, wildcards)
            alike = [sae for variant, sae in saes if variant == wildcards.variant]
            kind = f"{kind}-{wildcards.variant}-seed-{wildcards.seed}"
            return kind, _place(alike, wildcards.sae)

        name = self._name(rule, place)

        def unless_streamed(wildcards: Wildcards) -> str | None:
            """One that waits for a window would keep those waiting that the window waits for."""
            return None if self.inputs.streams(wildcards.model) else name(wildcards)

        return unless_streamed

    def of_saes(self, rule: str) -> GroupFunction:
        """For a rule with one job per SAE, for all seeds."""

        def place(wildcards: Wildcards) -> tuple[str, int]:
            saes, kind = self._trained(rule, wildcards)
            return kind, _place(saes, (wildcards.variant, wildcards.sae))

        return self._name(rule, place)

    def of_arms(self, rule: str) -> GroupFunction:
        """For a rule with one job per arm, or per arm and task; what is of no arm comes last."""

        def place(wildcards: Wildcards) -> tuple[str, int]:
            plan = self.inputs.plan(wildcards)
            arms = [(arm.variant, arm.partition) for arm in (*plan.arms, *plan.root_arms)]
            own = (getattr(wildcards, "variant", None), getattr(wildcards, "partition", None))
            task = f"-{wildcards.task}" if hasattr(wildcards, "task") else ""
            return f"{rule}-{wildcards.model}{task}", _place(arms, own)

        return self._name(rule, place)

    def _name(self, rule: str, place: Callable[[Wildcards], tuple[str, int]]) -> GroupFunction:
        """Names from what `place` gives: a kind of jobs, and a job's number among them."""

        def name(wildcards: Wildcards) -> str | None:
            size = self.sizes().get(rule, 1)
            if size == 1:
                return None
            kind, number = place(wildcards)
            found = f"{kind}-{number // size}"
            self.kinds[found] = rule
            return found

        return name

    def _trained(self, rule: str, wildcards: Wildcards) -> tuple[list[SAE], str]:
        """The SAEs among which the wildcard's is, and what groups of them are called.

        Pilots are apart: the plan waits for them, and all other SAEs wait for the plan.
        """
        pilots = self.inputs.pilots(wildcards)
        if pilots and (wildcards.variant, wildcards.sae) in pilots.trained_saes:
            return pilots.trained_saes, f"{rule}-{wildcards.model}-pilots"
        return self.inputs.plan(wildcards).trained_saes, f"{rule}-{wildcards.model}"


def _place(known: Sequence[Any], own: Any) -> int:
    """Where `own` stands; what the plan does not have (a file that somebody asked for) is last."""
    return known.index(own) if own in known else len(known)
