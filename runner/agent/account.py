"""What an agent owes its server: the runs that it was handed, and how those that ended did."""

from collections import deque

from runner.agent.failures import Ended
from runner.agent.protocol import Beat, Command


class Account:
    """Runs that wait here, and ends that the server has not confirmed."""

    def __init__(self, *, with_runner: bool) -> None:
        """Start empty; `with_runner`: the server is ours, hears of ends and takes runs back."""
        self._with_runner = with_runner
        self.waiting: deque[Command] = deque()  # handed out, not started
        self.ended: list[Ended] = []

    @property
    def is_owed_to_wandb(self) -> bool:
        """Whether a run waits that its server would never hand out again."""
        return bool(self.waiting) and not self._with_runner

    def take(self, command: Command) -> None:
        """A run is to be started here."""
        self.waiting.append(command)

    def drop(self, run: str) -> None:
        """The sweep stops a run; it may wait here."""
        if any(one.run == run for one in self.waiting):
            self.waiting = deque(one for one in self.waiting if one.run != run)
            self.note(Ended(run, None, "stopped"))

    def give_back(self) -> list[str]:
        """What waits here goes back to the sweep: these runs."""
        runs = [one.run for one in self.waiting]
        self.waiting.clear()
        for run in runs:
            self.note(Ended(run, None, "preempted"))
        return runs

    def note(self, ended: Ended) -> None:
        """A run has ended."""
        if self._with_runner:
            self.ended.append(ended)

    def settle(self, beat: Beat) -> list[Ended]:
        """The server has answered `beat`: the ends that it has heard of by that."""
        heard = [one for one in self.ended if one in beat.ended]
        self.ended = [one for one in self.ended if one not in beat.ended]
        return heard

    def make_beat(self, live: str | None, *, leaving: bool, waits: bool) -> Beat:
        """The next heartbeat; `live` is the run at hand, `waits` that no other could start."""
        alive = tuple(filter(None, (live, *(one.run for one in self.waiting))))
        ended = tuple(self.ended)
        if leaving and not alive:
            # listing what has just ended keeps any server from handing out another run
            return Beat(tuple(one.run for one in ended), ended, leaving=True)
        return Beat(alive, ended, waits=waits and not alive)
