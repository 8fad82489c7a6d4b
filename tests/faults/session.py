"""One experiment from its first start to its end, with faults on the way."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil
from snakemake_project import Project

from faults import kinds, told
from faults.kinds import Unable, Wound
from faults.ledger import Ledger
from faults.told import INCOMPLETE, UNLOCK
from faults.watching import Job, Started

#: How often each kind is drawn, for those that are possible at that moment.
WHILE_RUNNING = {
    "job killed": 4,
    "job terminated": 4,
    "snakemake killed": 4,
    "snakemake interrupted": 3,
    "snakemake terminated": 1,
    "disk full": 4,
    "file damaged": 6,
    "two snakemakes": 2,
    "clock jumped": 3,
    "config edited": 2,
}
WHILE_STOPPED = {"file damaged": 3, "checkpoint damaged": 4, "stale lock": 3, "clock jumped": 2}
#: Probability of a fault, and of one more, before Snakemake is started again.
AT_STOPS = 0.5
#: How many more jobs end before the next fault, and seconds after that.
JOBS = (0, 1, 2, 4)
PAUSE = (0.2, 5.0)
#: Seconds that one start may take before it is said to hang.
PATIENCE = 900


@dataclass
class Row:
    """A line of the log."""

    seed: int
    number: int
    kind: str
    target: str
    moment: str
    seen: str = ""
    next: str = ""
    outcome: str = ""


class Stuck(Exception):
    """The documented commands do not end the run."""


@dataclass
class Session:
    """The state of one experiment under faults.

    Args:
        project: before its first start.
        readers: file → jobs that read it, see `experiment.readers`.
        can_fill: whether the file system of the project is its own and may be filled.
    """

    project: Project
    readers: dict[str, set[str]]
    seed: int
    n_faults: int
    printed: Path
    can_fill: bool
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    redone: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = Random(self.seed)
        self.began = time.monotonic()
        self.starts = 0
        self.wounds: dict[str, tuple[Row, bytes, set[str]]] = {}  # damaged file → its fault
        self.pending: list[Row] = []  # faults whose next command has not been seen to go on
        self.locks: dict[str, bytes] = {}
        self.told: set[tuple[str, str, int]] = set()  # starts and ends that the ledger knows

    @property
    def folder(self) -> Path:
        return self.project.folder

    def spare(self) -> None:
        """No more faults: the run may end."""
        self.n_faults = len(self.rows)

    # -- from start to end

    def run(self) -> list[Row]:
        """Start, hurt, and follow the documentation until Snakemake ends well.

        Raises:
            Stuck: it does not.
        """
        command: tuple[str, ...] = ()
        restarts = 0
        while True:
            before = len(self.rows)
            started = self._start(command)
            try:
                ended_by_fault = self._hurt(started)
                if not started.wait(PATIENCE):
                    raise Stuck(f"start {self.starts} hangs")
            finally:
                started.end()
            self._account(started)
            self._settle(started)
            self.ledger.running.clear()
            if command == UNLOCK:
                command = INCOMPLETE
            elif started.process.returncode == 0:
                if self._nothing_left():
                    return self._close()
                restarts = restarts + 1 if len(self.rows) == before else 0
                command = ()
            elif self._was_killed():
                command = UNLOCK
            else:
                asked = self._asked(started.text())
                if asked is None and not ended_by_fault:
                    said = told.sentence(started.text(), self.folder)
                    self.unexplained.append(f"start {self.starts} failed: {said}")
                command = asked or ()
            if len(self.unexplained) == 3 or restarts == 5:
                raise Stuck("; ".join([*self.unexplained, f"{restarts} ends with jobs left"]))
            for row in self.pending:
                row.next = "; ".join(filter(None, [row.next, " ".join(("snakemake", *command))]))
            if command != UNLOCK:
                self._hurt_stopped()

    def _start(self, command: Sequence[str]) -> Started:
        self.starts += 1
        return Started(self.folder, self.printed / f"{self.seed}-{self.starts}.txt", command)

    def _hurt(self, started: Started) -> bool:
        """Faults at random moments while it runs; whether one of them was to end it."""
        while not started.jobs():
            if started.wait(0.2):
                return False
        while len(self.rows) < self.n_faults:
            goal = len(started.finished()) + self.draw.choice(JOBS)
            while len(started.finished()) < goal and not started.wait(0.2):
                pass
            if started.wait(self.draw.uniform(*PAUSE)):
                return False
            self._account(started)
            self.locks = kinds.locks(self.folder) or self.locks
            if self._one(WHILE_RUNNING, started):
                return True
        return False

    def _was_killed(self) -> bool:
        """Whether the last fault has killed Snakemake, which then asks for nothing."""
        return any(row.kind == "snakemake killed" and not row.next for row in self.pending)

    def _hurt_stopped(self) -> None:
        while self.draw.random() < AT_STOPS and len(self.rows) < self.n_faults:
            self._one(WHILE_STOPPED, None)

    def _one(self, weights: dict[str, int], started: Started | None) -> bool:
        """Draw a fault until one is possible; whether Snakemake is to end because of it."""
        for _ in range(5):
            if started and started.ended():
                break
            kind = self.draw.choices(list(weights), list(weights.values()))[0]
            if kind == "disk full" and not self.can_fill:
                continue
            moment = f"{time.monotonic() - self.began:.1f} s, {self.ledger.ended} jobs done"
            try:
                wound = self._wound(kind, started)
            except (Unable, psutil.NoSuchProcess):
                continue
            row = Row(self.seed, len(self.rows) + 1, kind, wound.target, moment, wound.seen)
            self.rows.append(row)
            if wound.damaged:
                done = {name for name in self.readers[wound.damaged] if self.ledger.is_made(name)}
                self.wounds[wound.damaged] = (row, wound.held, done)
                self.ledger.changed.add(wound.damaged)
            elif wound.ends or started is None:
                self.pending.append(row)
            else:
                row.next, row.outcome = "none", "went on"
            self.say(f"{self.seed} {row.number} {moment}: {kind} {wound.target} {wound.seen}")
            return wound.ends
        return False

    def _wound(self, kind: str, started: Started | None) -> Wound:
        if kind == "file damaged":
            return self._damage(self._files_to_be_read())
        if kind == "checkpoint damaged":
            found = [*self.folder.glob("results/**/checkpoint*.safetensors")]
            if not found:
                raise Unable
            file = self.draw.choice(sorted(found))
            how, _ = kinds.damaged(file, self.draw)
            return Wound(f"{file.relative_to(self.folder)} {how}")
        if kind == "clock jumped":
            files = [self.folder / name for name in self.ledger.made()]
            wound = kinds.clock_jumped([file for file in files if file.is_file()], self.draw)
            names = [str(Path(name).relative_to(self.folder)) for name in wound.target.split()]
            return wound._replace(target=" ".join(names))
        if kind == "stale lock":
            return kinds.stale_lock(self.folder, self.locks)
        assert started is not None
        if kind == "config edited":
            return kinds.config_edited(self.folder, self.draw)
        if kind == "two snakemakes":
            self.starts += 1
            return kinds.second_snakemake(
                started, self.folder, self.printed / f"{self.seed}-{self.starts}-second.txt"
            )
        if kind == "disk full":
            return kinds.disk_full(started, self.draw, self.folder)
        hurt = {
            "job killed": kinds.job_killed,
            "job terminated": kinds.job_terminated,
            "snakemake killed": kinds.snakemake_killed,
            "snakemake interrupted": kinds.snakemake_interrupted,
            "snakemake terminated": kinds.snakemake_terminated,
        }
        return hurt[kind](started, self.draw)

    def _files_to_be_read(self) -> list[str]:
        """Files that are made, whole, and still to be read by a job."""
        return [
            name
            for name in self.ledger.made()
            if name not in self.wounds
            and (self.folder / name).is_file()
            # Between the moment when a job compares a file and that when it reads it.
            and not self.ledger.running & self.readers.get(name, set())
            and any(not self.ledger.is_made(job) for job in self.readers.get(name, ()))
        ]

    def _damage(self, files: Sequence[str]) -> Wound:
        if not files:
            raise Unable
        by_folder: dict[str, list[str]] = {}  # so that every sort of file has its turn
        for name in files:
            by_folder.setdefault(re.sub(r"[\d~@-]+", "N", name), []).append(name)
        name = self.draw.choice(self.draw.choice(list(by_folder.values())))
        how, held = kinds.damaged(self.folder / name, self.draw)
        return Wound(f"{name} {how}", damaged=name, held=held)

    # -- what became of it

    def _account(self, started: Started) -> None:
        """Bring the ledger up to what this start has printed so far."""
        jobs: dict[int, Job] = {}
        for event in started.events():
            number = event if isinstance(event, int) else event.number
            if not isinstance(event, int):
                jobs[number] = event
            key = (started.printed.name, "end" if isinstance(event, int) else "start", number)
            job = jobs.get(number)
            if job is None or not job.outputs or key in self.told:
                continue
            self.told.add(key)
            if isinstance(event, int):
                self.ledger.end(job)
            else:
                self._start_of(job)

    def _start_of(self, job: Job) -> None:
        for file in {*job.outputs} & self.wounds.keys():
            row, _, _ = self.wounds.pop(file)
            row.next, row.outcome = "none", "made again before it was read"
            self.ledger.changed.discard(file)
        if self.ledger.start(job):
            self.redone.append(f"start {self.starts}: {job.outputs[0]} ({job.reason})")

    def _settle(self, started: Started) -> None:
        """Rows whose next command has gone on are done."""
        went_on = bool(started.finished()) or started.process.returncode == 0
        for row in list(self.pending):
            if row.next and went_on and "--unlock" not in started.arguments:
                row.outcome = "went on"
                self.pending.remove(row)
        text = started.text()
        for row in self.pending:
            if not row.next:
                row.seen = "; ".join(filter(None, [row.seen, told.sentence(text, self.folder)]))
            if row.kind == "checkpoint damaged" and "anew" not in row.seen:
                row.seen = told.anew(self.folder)

    def _asked(self, text: str) -> tuple[str, ...] | None:
        """Do what the output asks for; the arguments that it asks for, None for nothing at all."""
        name = told.to_delete(text, self.folder)
        if name is None:
            return told.command(text)
        gone = kinds.deleted(self.folder, name)
        self.ledger.delete(gone)
        self.ledger.changed -= {*gone}
        for file in self.wounds.keys() & {*gone}:
            row, _, _ = self.wounds.pop(file)
            row.seen, row.next = told.sentence(text, self.folder), f"rm {file}; snakemake"
            row.outcome = "named; made again"
        return ()

    def _nothing_left(self) -> bool:
        """Whether a further start says that there is nothing to be done."""
        result = self.project.snakemake("-n", "--cores", "2", "--resources", "gpu=0")
        (self.printed / f"{self.seed}-{self.starts}-dry.txt").write_text(result.stdout)
        return "Nothing to be done" in result.stdout

    def _close(self) -> list[Row]:
        for row in self.pending:
            row.outcome = row.outcome or "went on"
            row.next = row.next or "none"
        for name, (row, held, done) in self.wounds.items():
            later = {job for job in self.readers[name] if self.ledger.is_made(job)} - done
            if not later:
                row.outcome = "not read again"
            elif "/activations/" in name:
                # A job compares the layers that it reads, and no more. Had it read what was
                # damaged, its own output would differ from the undisturbed run's.
                row.outcome = "not read where it was damaged"
            else:
                row.outcome = f"NOT NOTICED by {', '.join(sorted(later))}"
            (self.folder / name).write_bytes(held)
        return self.rows
