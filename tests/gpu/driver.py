"""Stages one after the other, each in a process of its own that is stopped at its time limit."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from clustersae.runtime.errors import InputError
from gpu import packing
from gpu.record import DONE, FAILED, RUNNING, STOPPED, Record
from gpu.stages import HERE, Stage, chosen, read_settings

LOG = "log.txt"
#: Seconds between a request to stop and the end of a stage's process.
GRACE = 5.0
LOOK_EVERY = 0.2


class Driver:
    """One call of the command: some stages, within a budget of minutes.

    Args:
        work: keeps weights, models, SAEs and records from one call to the next.
        out: gets the record of every stage, and the log: few files, in no folders.
    """

    def __init__(self, settings: Path, work: Path, out: Path, budget: float) -> None:
        self.settings_file, self.settings = settings, read_settings(settings)
        self.work, self.out = work, out
        self.ends = time.monotonic() + 60 * budget
        for folder in (work / "records", out):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, stages: list[Stage]) -> bool:
        """Run those that are not done and for which there is time; whether none has failed."""
        outcomes = []
        for stage in stages:
            record = Record(self.work / "records" / stage.file)
            if not record.done:
                self._run(stage, record)
                record = Record(record.path)
            outcomes.append(record.content.get("status"))
            self._say(stage, record)
            self._copy(record.path)
            self._copy(self.work / LOG)
        return FAILED not in outcomes

    def _run(self, stage: Stage, record: Record) -> None:
        own, left = self.settings[stage.letter], self.ends - time.monotonic()
        limit = min(own["limit"], left)
        if limit < own["least"]:
            if not record.content:
                reason = f"not begun: {left:.0f} s were left, and it needs {own['least']} s"
                record.put(stage=stage.name, title=stage.title, status=reason)
            return
        command = [sys.executable, str(HERE / "run.py"), "stage", stage.letter]
        command += ["--settings", str(self.settings_file), "--work", str(self.work)]
        command += ["--seconds", f"{limit:.1f}"]
        began = time.monotonic()
        with open(self.work / LOG, "a", encoding="utf-8") as log:
            log.write(f"\n== {stage.letter} {stage.name}, at most {limit:.0f} s\n")
            log.flush()
            code = self._watched(command, limit, log, record.path)
        record = Record(record.path)
        spent = record.content.get("spent_seconds", 0) + time.monotonic() - began
        if code is None:
            record.put(status=STOPPED, limit_seconds=round(limit, 1), error=None)
        elif record.content.get("status") == RUNNING or not record.content:
            record.put(status=FAILED, error=f"its process ended with {code}; see {LOG}")
        record.put(stage=stage.name, title=stage.title, spent_seconds=round(spent, 1))

    def _watched(self, command: list[str], limit: float, log: IO[str], record: Path) -> int | None:
        """Exit code of the command; None if it was stopped at its limit."""
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        ends, seen = time.monotonic() + limit, 0
        try:
            while process.poll() is None:
                if time.monotonic() > ends:
                    return None
                # What is known so far lies outside before anyone stops this process, too.
                changed = record.stat().st_mtime_ns if record.is_file() else 0
                if changed != seen:
                    seen = changed
                    self._copy(record)
                time.sleep(LOOK_EVERY)
            return process.returncode
        finally:
            stop(process)
            self._copy(record)  # with what it has written down since it was asked to stop

    def _copy(self, path: Path) -> None:
        if path.is_file():
            with contextlib.suppress(FileNotFoundError):  # replaced in this moment
                shutil.copyfile(path, self.out / path.name)

    def _say(self, stage: Stage, record: Record) -> None:
        content = record.content
        spent = content.get("spent_seconds")
        seconds = "" if spent is None else f" ({spent:.0f} s)"
        lines = [f"{stage.letter} {stage.name}: {content.get('status', 'not begun')}{seconds}"]
        if content.get("status") == FAILED:
            lines.append(f"  {content.get('error', '')}")
        lines += [f"  {line}" for line in content.get("summary", [])]
        print("\n".join(lines), flush=True)


def stop(process: "subprocess.Popen[Any]") -> None:
    """End a process that leads its own group, and the group: asked first, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)


def run(
    letters: str | None, settings: Path, pack: Path, work: Path, out: Path, budget: float
) -> bool:
    """Unpack what pieces there are, then run the stages; whether none has failed.

    Raises:
        InputError: the settings or the pieces are not what they should be.
    """
    stages = chosen(letters)
    # As a killed command would, so that no stage outlives this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    driver = Driver(settings.resolve(), work.resolve(), out.resolve(), budget)
    state = packing.unpack(pack, driver.work / "files")
    if state["lacking"]:
        print(f"not whole yet, a piece is missing: {', '.join(state['lacking'])}", flush=True)
    return driver.run(stages)


def stage(letter: str, settings_file: Path, work: Path, seconds: float) -> None:
    """One stage, in this process; its record says how it ended."""
    import importlib
    import logging
    import traceback

    # Asked to stop, it writes down what it has used; pytest and all else make way for that.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.path.append(str(work / "files" / "site"))  # behind what is installed
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = read_settings(settings_file)
    (one,) = chosen(letter)
    record = Record(work / "records" / one.file)
    record.put(stage=one.name, title=one.title, status=RUNNING)
    ends = time.monotonic() + seconds
    try:
        from gpu import card
        from gpu.stages import Job

        own = settings[letter]
        where = card.choose(settings["device"])
        record.put(machine=card.machine(where), settings=own)
        record.put(precision=card.set_precision(own["tf32"]))
        before = record.content.get("use", {})
        with card.Sampler(work / "samples" / letter, where, before) as sampler:
            record.watching["use"] = sampler.found
            try:
                importlib.import_module(one.module).run(Job(own, work, record, where, ends))
            finally:
                record.put()
        record.put(status=DONE, error=None)
    except InputError as error:
        record.put(status=FAILED, error=str(error))
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # whatever it is, the next stage is to have its turn
        record.put(status=FAILED, error=f"{type(error).__name__}: {error}")
        traceback.print_exc()
        sys.exit(1)
