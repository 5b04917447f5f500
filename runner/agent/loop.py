"""The agent's loop: one run at a time, a heartbeat while it lives, the next as soon as it ended."""

import time
from collections.abc import Iterable

from runner.agent.account import Account
from runner.agent.contract import limits
from runner.agent.courier import NOBODY, Courier
from runner.agent.drain import is_drained
from runner.agent.failures import Ended
from runner.agent.judge import Judge
from runner.agent.launch import Launcher
from runner.agent.lease import Lease
from runner.agent.leaving import (
    NO_MORE_RUNS,
    SWEEP_GONE,
    TO_BE_REPLACED,
    Leaving,
    count_reached,
    describe_end,
    quarantined,
    refused,
    stopped,
)
from runner.agent.link import NotFoundError
from runner.agent.live import Live, describe_last, end_before_start
from runner.agent.protocol import Beat, Command
from runner.agent.refusals import RefusedError
from runner.agent.report import StatusFile, say
from runner.agent.rows import has_logged
from runner.agent.settings import AgentSettings
from runner.agent.signals import Inbox
from runner.agent.watch import RunWatch

FAREWELL_S = 3.0  # after the last run's end, to tell the server


class Loop:
    """All that changes while an agent works; `run` returns how it left."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        launcher: Launcher,
        courier: Courier,
        inbox: Inbox,
        status: StatusFile,
        lease: Lease | None,
        watch: RunWatch,
    ) -> None:
        self._settings, self._launcher, self._courier = settings, launcher, courier
        self._inbox, self._status, self._lease, self._watch = inbox, status, lease, watch
        self._live: Live | None = None
        self._account = Account(with_runner=settings.server_kind == "runner")
        self._leaving: Leaving | None = None
        self._deaf = False  # the server wants no more heartbeats
        self._beat_at = self._start_at = 0.0  # monotonic
        self._judge = Judge()
        self._lack: str | None = None  # what keeps another run from starting for now

    def run(self) -> Leaving:
        """Work until the sweep, the count or a signal ends it."""
        try:
            while True:
                self._look_at_reply()
                self._look_at_run()
                self._launcher.look()
                self._look_at_machine()
                self._look_at_request()
                self._start_next()
                self._send_heartbeat()
                self._report()
                if self._leaving and self._is_done():
                    if self._is_owed_to_wandb():
                        say(f"the last heartbeat is not answered: {NOBODY}")
                    return self._leaving
                for _ in range(self._inbox.wait(self._left_s(), self._launcher.doors())):
                    self._on_stop_signal()
        finally:
            if self._live:  # a bug of ours must not leave a run without a guardian
                self._live.tree.kill()
            self._launcher.close()

    # what came from the server

    def _look_at_reply(self) -> None:
        try:
            reply = self._courier.take()
        except RefusedError as error:
            self._on_refusal(error)
            return
        if reply is None:
            return
        beat, commands = reply
        heard = self._account.settle(beat)
        for command in commands:
            if command.type == "ended":
                self._status.correct(heard, command.run, command.state)
            else:
                self._obey(command)
        is_news = self._make_beat() != beat
        self._beat_at = time.monotonic() + (0.0 if is_news else self._settings.heartbeat_s)

    def _on_refusal(self, error: RefusedError) -> None:
        self._deaf = True
        # whoever deleted it wants no more runs of it: no reason to start again
        self._leave(SWEEP_GONE if isinstance(error, NotFoundError) else refused(error.reason))
        if self._live:
            say(f"{error.reason}; {self._live.run} may go on to its end")

    def _obey(self, command: Command) -> None:
        if command.type == "exit":
            self._leave(NO_MORE_RUNS)
            if self._live:
                say(f"the sweep was ended: stopping {self._live.run}")
                self._live.end("sweep")
        elif command.type == "stop":
            self._stop_run(command.run)
        elif command.run not in self._make_beat().alive:
            self._account.take(command)
            if self._leaving:
                self._give_back_waiting()

    def _stop_run(self, run: str) -> None:
        if self._live and self._live.run == run:
            if not self._live.tree.stopped:
                say(f"the sweep stops {run}")
            self._live.end("sweep")
        else:
            self._account.drop(run)
            self._beat_at = 0.0

    # what came from outside

    def _on_stop_signal(self) -> None:
        """The first lets the run save; the second does not wait."""
        second = self._leaving is not None and self._leaving.interrupted
        grace_s = self._settings.grace_s if self._live and not second else 0.0
        self._leave(stopped(time.monotonic() + grace_s + FAREWELL_S))
        if self._live and second:
            say(f"told to stop again: killing {self._live.run}")
            self._live.tree.kill()
        elif self._live:
            say(f"told to stop: {self._live.run} has {grace_s:g} s to save")
            self._live.end("outside")

    def _leave(self, leaving: Leaving) -> None:
        self._leaving = leaving
        self._beat_at = 0.0
        self._give_back_waiting()

    def _give_back_waiting(self) -> None:
        for run in self._account.give_back():
            self._beat_at = 0.0
            if self._settings.server_kind == "wandb":  # it takes no run back
                say(f"{run} was handed out as this agent leaves: nobody runs it")

    def _look_at_request(self) -> None:
        """Between two runs, leave if the command line is about to replace this agent."""
        if self._live or self._leaving or self._is_owed_to_wandb():
            return
        if is_drained(self._settings):
            self._leave(TO_BE_REPLACED)

    def _look_at_machine(self) -> None:
        if self._live:
            return
        before, self._lack = self._watch.disks.lack, self._watch.find_lack()
        if no_room := self._watch.disks.lack:
            if not before:
                say(f"no run starts for now: {no_room}")
            if self._settings.server_kind == "runner":
                self._give_back_waiting()
        elif before:
            say("there is room again")
        unfit = self._watch.unfit
        if unfit and (self._leaving is None or self._leaving.state == "finished"):
            self._leave(quarantined(f"{self._settings.slot}: {unfit}"))

    def _is_owed_to_wandb(self) -> bool:
        """Whether a run was handed out, or may just be, by a server that takes none back."""
        asked = self._courier.asking and self._settings.server_kind == "wandb"
        return asked or self._account.is_owed_to_wandb

    # the run

    def _start_next(self) -> None:
        busy = self._live or self._leaving or self._lack
        waiting = self._account.waiting
        if busy or not waiting or time.monotonic() < self._start_at:
            return
        last = self._settings.runs_left(self._status.status.runs_ended) <= 1
        if not self._launcher.is_ready(waiting[0], last=last):
            return
        command = waiting.popleft()
        values = ", ".join(f"{name}={value}" for name, value in command.values)
        say(f"{command.run} starts with {values or 'no values'}"[:2000])
        try:
            tree = self._launcher.launch(command, last=last)
        except OSError as error:
            ended = end_before_start(command.run, error, self._watch.disks)
            self._on_end(command, ended, lived_s=0.0)
            return
        self._live = Live(command, tree, self._watch, grace_s=self._settings.grace_s)

    def _look_at_run(self) -> None:
        ended = self._live and self._live.look()
        if self._live and ended:
            command, lived_s = self._live.command, self._live.lived_s
            self._live = None
            self._on_end(command, ended, lived_s)

    def _on_end(self, command: Command, ended: Ended, lived_s: float) -> None:
        say(describe_end(ended, lived_s))
        self._account.note(ended)
        self._beat_at = 0.0
        self._status.count(ended.count, 1)
        self._status.update(run=None, last=describe_last(ended))
        interrupted = self._leaving is not None and self._leaving.interrupted
        logged = ended.failure == "bad_config" and has_logged(self._settings.wandb_dir, ended.run)
        verdict = self._judge.hear(ended, lived_s, config=repr(command.values), logged=logged)
        self._start_at = time.monotonic() + self._judge.pause_s
        count = self._settings.count
        if interrupted:
            self._leave(stopped(time.monotonic() + FAREWELL_S))
        elif self._leaving is None and verdict:
            self._leave(verdict)
        elif self._leaving is None and count and self._status.status.runs_ended >= count:
            self._leave(count_reached(count))
        elif self._judge.pause_s and not self._leaving:
            say(f"{self._judge.why}; {self._judge.pause_s:g} s until the next")

    # heartbeat, status, end

    def _make_beat(self) -> Beat:
        live = self._live.run if self._live else None
        waits = self._watch.disks.lack is not None
        return self._account.make_beat(live, leaving=self._leaving is not None, waits=waits)

    def _send_heartbeat(self) -> None:
        if self._deaf or (self._leaving and not self._live and not self._account.ended):
            return
        if self._lack and not self._leaving and self._settings.server_kind == "wandb":
            return  # it would hand out a run, and takes none back
        if self._courier.trouble or (not self._courier.busy and time.monotonic() >= self._beat_at):
            self._courier.give(self._make_beat())

    def _is_done(self) -> bool:
        """Nothing lives, and the server knows all ends or cannot be told."""
        assert self._leaving  # noqa: S101 - the caller looked
        if self._live:
            return False
        # an unanswered heartbeat may be one that brings a run: to be given back, or to be named
        waits = self._settings.server_kind == "runner" or self._courier.asking
        heard = not (self._courier.busy and waits)
        told = not self._account.ended and heard
        return self._deaf or told or time.monotonic() >= self._leaving.until

    def _report(self) -> None:
        if self._leaving and not self._live and not self._courier.trouble:
            return  # the final word follows
        now = time.monotonic()
        live = self._live
        run = self._status.status.run if live else None
        if live and (run is None or now - self._status.written_at >= limits.STATUS_EVERY_S):
            run = live.describe()
        self._status.update(state="running" if live else "waiting", run=run, reason=self._reason())
        if now - self._status.written_at >= limits.STATUS_EVERY_S:
            self._status.write()
            if self._lease:
                self._lease.touch()

    def _reason(self) -> str | None:
        if self._courier.trouble:
            return f"the server does not answer: {self._courier.trouble}"
        if self._leaving:
            return self._leaving.reason
        if self._account.waiting and time.monotonic() < self._start_at:
            return f"{self._judge.why}; waiting before the next"
        if self._live or self._lack:
            return None if self._live else self._watch.disks.lack
        return "importing ahead what the run imports" if self._account.waiting else None

    def _left_s(self) -> float:
        times: Iterable[float | None] = (
            self._status.written_at + limits.STATUS_EVERY_S,
            None if self._courier.busy or self._deaf else self._beat_at,
            self._live.tree.deadline if self._live else None,
            self._watch.next_at,
            self._start_at if self._account.waiting and not self._live else None,
            self._leaving.until if self._leaving else None,
            self._launcher.wake_at(),
        )
        return min(one for one in times if one is not None) - time.monotonic()
