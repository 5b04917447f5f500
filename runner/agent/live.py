"""The run that is under way: its process, who told it to end, and what was seen of it."""

import signal
import time
from pathlib import Path

from runner.agent.barriers import find_barrier
from runner.agent.contract import exits, paths
from runner.agent.contract.status import LastRun, LiveRun
from runner.agent.disks import Disks, is_of_disk
from runner.agent.failures import Ended, Ender, Signs, classify
from runner.agent.launchers import OWN_CODE as LAUNCHERS_CODE
from runner.agent.launchers import find_launched
from runner.agent.leaving import describe_code
from runner.agent.process import RunProcess
from runner.agent.protocol import Command
from runner.agent.refusals import describe_os_error
from runner.agent.report import say
from runner.agent.watch import Evidence, RunWatch

SHOWN_LINES = 20  # of a run's log, with its end
_KILLED = (-signal.SIGKILL, exits.AGENT_KILLED)  # 137: of a shell's child


class Live:
    """One run, from its start until nothing of it is left."""

    def __init__(
        self, command: Command, tree: RunProcess, watch: RunWatch, *, grace_s: float
    ) -> None:
        """It has just started; `grace_s` is its time to save when it is told to end."""
        self.command, self.tree, self._watch, self._grace_s = command, tree, watch, grace_s
        self.started_at = time.time()
        self._ender: Ender | None = None
        self._limit: str | None = None  # of its, that is over
        watch.begin(tree)

    @property
    def run(self) -> str:
        """Its ID."""
        return self.command.run

    @property
    def lived_s(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.tree.started_at

    def describe(self) -> LiveRun:
        """What the status file says of it."""
        return LiveRun(self.run, "running", self.started_at, self._watch.peaks)

    def end(self, ender: Ender) -> None:
        """Tell it to end; whoever was the first to do so decides what its end means."""
        if not self.tree.stopped:
            self._ender = ender
        self.tree.stop(self._grace_s)

    def look(self) -> Ended | None:
        """How it ended, once it has; until then its limits and its GPU are looked after."""
        limit, fault = self._watch.look(), self._watch.fault
        if limit:
            self._limit = limit
            self._interrupt("limit", limit)
        elif fault:
            self._interrupt("fault", fault)
        code = self.tree.poll()
        if code is None:
            return self._give_up() if self.tree.dying_s > self._watch.release_s else None
        seen = self._watch.conclude(self.tree.max_rss_bytes, killed=code in _KILLED)
        if seen is None:
            return None
        return self._explain(code, self.tree.last_lines(), seen)

    def _give_up(self) -> Ended:
        """What SIGKILL does not end is in a driver's hands, and dies as soon as that lets go."""
        after = f"{self._watch.release_s:g} s after SIGKILL"
        left = f"{self.tree.describe_left()} of {self.run} is still there {after}"
        seen = self._watch.give_up(left)
        lines = self.tree.last_lines(wait_s=0.0)[-SHOWN_LINES:]
        return Ended(self.run, None, "gpu_fault", lines, seen.peaks, left)

    def _explain(self, code: int, said: tuple[str, ...], seen: Evidence) -> Ended:
        launched = find_launched(said) if code == LAUNCHERS_CODE else None
        own, lines = (launched.code, launched.lines) if launched else (code, said)
        lines = lines[-SHOWN_LINES:]
        full = self._watch.disks.explain(lines) if code else None
        failure = classify(Signs(own, lines, self._ender, seen.oom_kills, seen.fault, full))
        details = {"timeout": self._limit, "gpu_fault": seen.fault, "disk_full": full}
        detail = details.get(failure or "")
        if failure == "crash" and Path(paths.CODE).is_dir():  # in a container
            detail = find_barrier(lines)
        if own != code and not detail:
            detail = f"its program ended with {describe_code(own)}"
        self._watch.disks.note(full if failure == "disk_full" else None)
        return Ended(self.run, code, failure, lines, seen.peaks, detail)

    def _interrupt(self, ender: Ender, why: str) -> None:
        if not self.tree.stopped:
            say(f"{why}: {self.run} has {self._grace_s:g} s to save")
            self.end(ender)


def end_before_start(run: str, error: OSError, disks: Disks) -> Ended:
    """How a run ended that could not be started, by its command or by a disk."""
    why = f"cannot start: {describe_os_error(error)}"
    if not is_of_disk(error):
        return Ended(run, exits.RUN_NOT_STARTED, "bad_config", (why,))
    disks.note(why)
    return Ended(run, exits.RUN_NOT_STARTED, "disk_full", (why,))


def describe_last(ended: Ended) -> LastRun:
    """What the status file says of a run that has ended."""
    line = ended.last_words if ended.failed or ended.goes_back else None
    return LastRun(ended.run, ended.failure, ended.code, ended.signal, line, ended.peaks)
