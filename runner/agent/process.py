"""A run's process and everything it starts: one tree, gone as a whole before the next run."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.agent.kept import KEPT
from runner.agent.output import Relay
from runner.agent.tree import Stat, describe_processes, read_stats
from runner.agent.warm.handles import Forked

LINGER_S = 1.0  # for what left the process group; W&B's client waits for its uploader anyway
RUNS_FIRST = "500"  # of 1000, for `oom_score_adj`
_PR_SET_CHILD_SUBREAPER, _PR_SET_DUMPABLE = 36, 4


def adopt_orphans() -> None:
    """Become the parent of all that a run leaves behind, so that it can be found and ended."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def close_to_others() -> None:
    """Let no process of our user trace this one or read its memory; what it executes is open again.

    A run has the same user as its agent. It may kill the agent all the same.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class RunProcess:
    """A running run. `poll` moves it on; call it after each SIGCHLD and each `deadline`."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        run: str,
        folder: Path,
        env: Mapping[str, str],
        secret: str,
        inherited: Sequence[int] = (),
        forked: Forked | None = None,
    ) -> None:
        """Start it, unless it is `forked` already; it gets the open files `inherited`.

        Raises:
            OSError: the command cannot be started.
        """
        self.run = run
        self.started_at = time.monotonic()
        self._leader = forked or subprocess.Popen(
            argv,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=inherited,
        )
        _offer_to_the_kernel(self._leader.pid)
        assert self._leader.stdout  # noqa: S101 - PIPE was asked for
        assert self._leader.stderr  # noqa: S101
        pipes = [
            (os.dup(self._leader.stdout.fileno()), 1),
            (os.dup(self._leader.stderr.fileno()), 2),
        ]
        self._leader.stdout.close()
        self._leader.stderr.close()
        self._relay = Relay(run, pipes, secret)
        self._code: int | None = None
        self.max_rss_bytes = 0  # of one of its processes, once it has ended
        self.deadline: float | None = None  # when what is left is killed, monotonic
        self.stopped = False  # it was told to stop
        self._killing = False
        self._killed_at: float | None = None  # the first time, monotonic

    @property
    def pid(self) -> int:
        """Of its first process."""
        return self._leader.pid

    @property
    def output_bytes(self) -> int:
        """How much it has printed so far."""
        return self._relay.read_bytes

    def stop(self, grace_s: float) -> None:
        """SIGTERM to the run's own process, SIGKILL to all that is left after the grace.

        Helpers of the run (data loaders, W&B's uploader) do not get SIGTERM while it lives: it
        needs them to save. When it has gone and left others of its group, such as a shell its
        program, they get it.
        """
        if self._code is None and not self.stopped:
            self.stopped = True
            self.deadline = time.monotonic() + grace_s
            self._leader.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole tree now; `poll` tells when it is gone."""
        self.stopped = self.stopped or self._code is None
        self._killing = True
        self.poll()

    def poll(self) -> int | None:
        """The exit code (negative: the signal), once nothing of the tree is left."""
        now = time.monotonic()
        self._killing = self._killing or (self.deadline is not None and now >= self.deadline)
        if self._killing:
            self._killed_at = self._killed_at or now
            self.deadline = now + 0.1  # once more then: the dying may have started others
        if self._code is None and not self._leader_ended():
            if self._killing:
                _signal_group(self._leader.pid, signal.SIGKILL)
            return None
        if not _reap():
            return self._code
        if self._killing:
            _kill_children()
        return None

    @property
    def dying_s(self) -> float:
        """How long ago it was killed, of which something is left: a driver may hold on to it."""
        return time.monotonic() - self._killed_at if self._killed_at else 0.0

    def describe_left(self) -> str:
        """What is left of it: `process 12 (python3, state D)`."""
        left = [self._leader.pid] if self._code is None else [one.pid for one in _children()]
        return describe_processes(left)

    def last_lines(self, wait_s: float = 5.0) -> tuple[str, ...]:
        """The end of its output; call it when `poll` has given the code."""
        return self._relay.finish(wait_s)

    def _leader_ended(self) -> bool:
        """Take its exit code, and turn to those that it left."""
        pid = self._leader.pid
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        saving = self.stopped and not self._killing
        # its zombie keeps the group's number from being given to others until wait()
        _signal_group(pid, signal.SIGTERM if saving else signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        self._code = self._leader.returncode = os.waitstatus_to_exitcode(status)
        self.max_rss_bytes = usage.ru_maxrss << 10
        _reap()
        if not (saving and _signal_group(pid, 0)):
            linger = time.monotonic() + LINGER_S
            self.deadline = min(self.deadline or linger, linger)
        return True


def _offer_to_the_kernel(pid: int) -> None:
    """Make the kernel end the run, not its agent, when memory runs out: the agent reports it."""
    with contextlib.suppress(OSError):  # it has ended, or this kernel does not let us
        Path(f"/proc/{pid}/oom_score_adj").write_text(RUNS_FIRST, "ascii")


def _signal_group(pid: int, number: int) -> bool:
    """Whether there was a group to take the signal; 0 only asks."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def _reap() -> bool:
    """Bury dead children; whether any child of a run is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return not KEPT or bool(_children())
        KEPT.discard(pid)


def _kill_children() -> None:
    for stat in _children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(stat.pid, signal.SIGKILL)


def _children() -> list[Stat]:
    """Our children but those that are kept."""
    me = os.getpid()
    return [stat for stat in read_stats() if stat.parent == me and stat.pid not in KEPT]
