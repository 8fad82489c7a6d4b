"""The nodes of a circuit, numbered and ranked.

A node is a latent of one layer at all positions, or the error of one layer at all positions. A
shared SAE has one node per layer and latent, so partitions with any number of SAEs have equally
many nodes, and circuits of equal size compare.

Positions are not told apart: prompts of different templates and lengths do not align, and what is
asked of a shared SAE is whether its latents, not places in a prompt, carry the behaviour. A node
whose parts at two positions cancel then counts for little: patching the node, which is all its
positions at once, does change little.
"""

from typing import Literal, NamedTuple

import torch

from clustersae.circuits.dictionaries import Dictionaries
from clustersae.runtime.errors import InputError

#: What becomes of the errors, in a circuit and in what is left without it alike. `nodes`: each is
#: a node as any other. `kept`: none is ever ablated. `ablated`: all always are. The circuits of
#: the last two consist of latents. m(∅), in which errors are ablated, is the same for all three,
#: so that their faithfulness is measured on one scale.
Errors = Literal["nodes", "kept", "ablated"]


class Node(NamedTuple):
    """What a number stands for."""

    layer: int
    latent: int | None  # None: the error


class Nodes:
    """Numbers: layer by layer, each layer's latents and then its error."""

    def __init__(self, dictionaries: Dictionaries) -> None:
        self.layers = tuple(sorted(dictionaries))
        self.slices: dict[int, slice] = {}
        self.errors: dict[int, int] = {}
        self.n_nodes = 0
        for layer in self.layers:
            end = self.n_nodes + dictionaries[layer].n_latents
            self.slices[layer] = slice(self.n_nodes, end)
            self.errors[layer] = end
            self.n_nodes = end + 1
        self.n_latents = self.n_nodes - len(self.layers)

    def node(self, number: int) -> Node:
        for layer in self.layers:
            if number <= self.errors[layer]:
                start = self.slices[layer].start
                return Node(layer, None if number == self.errors[layer] else number - start)
        raise InputError(f"There are {self.n_nodes} nodes, numbered from 0: none is {number}.")

    def candidates(self, errors: Errors) -> int:
        """Nodes that a circuit can have: the size of the largest."""
        return self.n_nodes if errors == "nodes" else self.n_latents

    def ranks(self, scores: torch.Tensor, errors: Errors) -> torch.Tensor:
        """The rank of every node, int64 [n_nodes]: 0 for the largest |score|.

        C_N is the nodes of rank below N. Nodes of equal score are ranked by number. Where errors
        are not candidates they come last, behind every size that a circuit can have.
        """
        scores = scores.abs()
        if errors != "nodes":
            numbers = torch.tensor(list(self.errors.values()), device=scores.device)
            scores = scores.index_fill(0, numbers, -1.0)
        order = torch.argsort(scores, descending=True, stable=True)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(self.n_nodes, device=order.device)
        return ranks


class Circuits(NamedTuple):
    """S circuits cut from one ranking: the nodes of rank below a size, or all but those."""

    ranks: torch.Tensor  # int64 [n_nodes]
    sizes: torch.Tensor  # int64 [S]
    complement: torch.Tensor  # bool [S]
    errors: Errors

    def rows(self, start: int, stop: int) -> "Circuits":
        return self._replace(sizes=self.sizes[start:stop], complement=self.complement[start:stop])

    def hold(self, ranks: torch.Tensor) -> torch.Tensor:
        """Whether each circuit holds nodes of these ranks [S or 1, ...]: bool [S, ...]."""
        shape = (-1, *[1] * (ranks.dim() - 1))
        return (ranks < self.sizes.view(shape)) ^ self.complement.view(shape)

    def hold_error(self, number: int) -> torch.Tensor:
        """Whether each circuit keeps the error with this number: bool [S]."""
        if self.errors == "nodes":
            return self.hold(self.ranks[number].expand(1))
        return torch.full_like(self.complement, self.errors == "kept")


def top(scores: torch.Tensor, n: int) -> list[int]:
    """The numbers of the `n` nodes of largest |score|, in order."""
    return torch.argsort(scores.abs(), descending=True, stable=True)[:n].tolist()
