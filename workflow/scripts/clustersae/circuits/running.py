"""Many circuits on the test prompts of one length, in chunks of circuits × prompts."""

import torch

from clustersae.circuits.ablation import Ablation, StandIn, draw_sources, stand_in
from clustersae.circuits.dictionaries import Dictionaries, encode_in_chunks
from clustersae.circuits.nodes import Circuits, Nodes
from clustersae.circuits.pairs import last_logits_only, logit_difference
from clustersae.circuits.recording import CleanRun, Recording, first_position
from clustersae.circuits.splicing import spliced
from clustersae.models.residual import ResidualStream
from clustersae.sae.module import Latents


class PromptGroup:
    """Test prompts of one length, and all that circuits on them have in common."""

    def __init__(
        self,
        stream: ResidualStream,
        dictionaries: Dictionaries,
        recording: Recording,
        run: CleanRun,
        ablation: Ablation,
        seed: int,
        chunk: int,
    ) -> None:
        self.stream, self.dictionaries, self.run = stream, dictionaries, run
        stream.learn_extras(run.layer, run.pairs.clean)
        sources = draw_sources(len(run.pairs.clean), len(recording.pairs.clean), seed)
        sources = sources.to(run.x.device)
        self.starts = {layer: first_position(stream, layer, run.pairs) for layer in dictionaries}
        self.values = {
            layer: stand_in(ablation, each, recording, layer, self.starts[layer], sources, chunk)
            for layer, each in dictionaries.items()
        }
        x = run.x[:, self.starts[run.layer] :]
        self.latents = encode_in_chunks(dictionaries[run.layer], x, chunk)
        self.max_rows = max(1, chunk // self._entries())

    def _entries(self) -> int:
        """Numbers that one circuit on one prompt needs at once, roughly."""
        widest = max(dictionary.n_latents for dictionary in self.dictionaries.values())
        n_active = self.latents.indices.shape[-1]
        # Pre-activations and their order; active latents, twice and with indices; the MLP.
        per_token = 2 * widest + 8 * n_active + 8 * self.run.x.shape[-1]
        return self.run.pairs.n_tokens * per_token + self.stream.vocab_size

    @torch.no_grad()
    def metrics(self, nodes: Nodes, circuits: Circuits) -> torch.Tensor:
        """[S, n_prompts of this group]"""
        n_prompts = min(self.max_rows, len(self.run.x))
        n_circuits = max(1, self.max_rows // n_prompts)
        return torch.cat(
            [
                self._of_circuits(nodes, circuits.rows(start, start + n_circuits), n_prompts)
                for start in range(0, len(circuits.sizes), n_circuits)
            ]
        )

    def _of_circuits(self, nodes: Nodes, circuits: Circuits, n_prompts: int) -> torch.Tensor:
        layers = [_Layer(self, nodes, circuits, layer) for layer in nodes.layers]
        with last_logits_only(self.stream):
            metrics = [
                self._of_prompts(layers, len(circuits.sizes), start, start + n_prompts)
                for start in range(0, len(self.run.x), n_prompts)
            ]
        return torch.cat(metrics, 1)

    def _of_prompts(
        self, layers: list["_Layer"], n_circuits: int, start: int, stop: int
    ) -> torch.Tensor:
        """m [S, stop − start]"""
        first, *later = layers
        pairs = self.run.pairs.rows(start, stop)
        latents = Latents(*(part[start:stop].unsqueeze(0) for part in self.latents))
        x = first.change(self.run.x[start:stop], start, stop, latents)
        changes = {
            layer.number: lambda x, layer=layer: layer.change(x, start, stop) for layer in later
        }
        tokens = pairs.clean.repeat(n_circuits, 1)
        with self.stream.replaced(changes):
            logits = self.stream.logits_from(first.number, x, tokens)
        return logit_difference(logits, pairs).view(n_circuits, -1)


class _Layer:
    """One layer under a chunk of circuits."""

    def __init__(self, group: PromptGroup, nodes: Nodes, circuits: Circuits, number: int) -> None:
        self.number, self.circuits = number, circuits
        self.dictionary, self.start = group.dictionaries[number], group.starts[number]
        self.values: StandIn = group.values[number]
        self.masked = group.run.masked
        self.ranks = circuits.ranks[nodes.slices[number]]
        self.error_kept = circuits.hold_error(nodes.errors[number])
        self.of_all = self.values.of_all(self.dictionary, circuits, self.ranks)

    def change(
        self, x: torch.Tensor, start: int, stop: int, latents: Latents | None = None
    ) -> torch.Tensor:
        """The stream [S · P, n_tokens, d_model] with the circuits' nodes alone.

        What is masked passes through as it is.

        Args:
            x: [S · P or P, n_tokens, d_model], for the prompts from `start` up to `stop`.
            latents: the encoding of x where it is known; x then has P rows, the same for all
                circuits, and its latents are [1, P, n_positions, k].
        """
        n_circuits = len(self.circuits.sizes)
        x = x.unflatten(0, (n_circuits if latents is None else 1, -1))
        analysed = x[:, :, self.start :]
        changed = spliced(
            analysed,
            self.dictionary.encode(analysed) if latents is None else latents,
            self.dictionary,
            self.circuits,
            self.ranks,
            self.error_kept,
            self.values.rows(start, stop),
            self.of_all,
        )
        changed = changed.to(x.dtype)
        if self.masked is not None:
            masked = self.masked[start:stop, self.start :].unsqueeze(-1)
            changed = torch.where(masked, analysed, changed)
        untouched = x[:, :, : self.start].expand(n_circuits, -1, -1, -1)
        return torch.cat([untouched, changed], 2).flatten(0, 1)
