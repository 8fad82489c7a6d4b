"""Which jobs have ended well, and which were made again although nothing asked for it."""

from collections.abc import Iterable

from faults.watching import Job


class Ledger:
    """Jobs over all starts of one experiment; a job is known by its first output.

    Making a job again is right where one of its outputs was deleted, or where what it reads was
    damaged, or made again after it.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.redone: list[Job] = []
        self._ended: dict[str, int] = {}  # job → when it last ended, in ended jobs
        self._clock = 0
        self._maker: dict[str, str] = {}  # file → job
        self._deleted: set[str] = set()
        self._again: set[str] = set()  # jobs that had ended, started again, and have not ended
        self.changed: set[str] = set()  # files that were damaged: who has read them may start again
        self.running: set[str] = set()  # outputs of jobs that run now

    def start(self, job: Job) -> bool:
        """Note a job that starts; whether it was done already and should not be."""
        name = job.outputs[0]
        self.jobs[name] = job
        self._maker |= dict.fromkeys(job.outputs, name)
        self.running |= {*job.outputs}
        if name in self._ended:
            self._again.add(name)
        wrongly = name in self._ended and not self._is_due(job)
        if wrongly:
            self.redone.append(job)
        return wrongly

    def _is_due(self, job: Job) -> bool:
        own = self._ended[job.outputs[0]]
        makers = (self._maker.get(file) for file in job.inputs)
        if self._deleted & {*job.outputs} or self.changed & {*job.inputs}:
            return True
        return any(self._ended.get(maker or "", 0) > own for maker in makers)

    def end(self, job: Job) -> None:
        self._clock += 1
        self._ended[job.outputs[0]] = self._clock
        self._deleted -= {*job.outputs}
        self._again.discard(job.outputs[0])
        self.running -= {*job.outputs}

    def delete(self, files: Iterable[str]) -> None:
        self._deleted |= {*files}

    def unneeded(self) -> set[str]:
        """Outputs of jobs that were interrupted when they were made again.

        Snakemake deletes these, and if all that reads them is there, it does not make them again.
        """
        return {file for name in self._again for file in self.jobs[name].outputs}

    @property
    def ended(self) -> int:
        return len(self._ended)

    def made(self) -> list[str]:
        """Outputs of jobs that have ended."""
        return sorted(filter(self.is_made, self._maker))

    def is_made(self, file: str) -> bool:
        """Whether the job that makes a file has ended."""
        return self._maker.get(file, "") in self._ended
