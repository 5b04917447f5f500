"""What the agent's log says of imports ahead."""

from collections.abc import Iterable, Mapping

from runner.agent.preload import Preload
from runner.agent.report import say


class Notes:
    """Each line once: every new parent finds the same anew."""

    def __init__(self, preload: Preload) -> None:
        self._tops = {name.partition(".")[0] for name in preload.extra}
        self._said: set[str] = set()
        self.hint = "; look at `run.preload`" if preload.extra else ""  # on a parent that ends

    def say(self, lines: Iterable[str]) -> None:
        """Say those that are new."""
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                say(line)

    def leave_out(self, faults: Mapping[str, str]) -> None:
        """Name packages that are not imported ahead, each with its reason."""
        for package, reason in faults.items():
            hint = "; take it out of `run.preload`" if package in self._tops else ""
            self.say([f"`{package}` {reason}: it is not imported ahead{hint}"])
