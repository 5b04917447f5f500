"""What the end of a run means for its agent: go on, pause, stop, or be quarantined."""

from dataclasses import dataclass

from runner.agent.contract.failures import BROKEN_AFTER, POLICIES
from runner.agent.failures import Ended
from runner.agent.leaving import Leaving, broken

QUICK_S = 2.0  # a run that fails faster has hardly begun


@dataclass
class Judge:
    """Remembers the failures in a row."""

    quick_failures: int = 0
    _configs: tuple[str, ...] = ()  # of those `bad_config` in a row that logged nothing

    def hear(self, ended: Ended, lived_s: float, *, config: str, logged: bool) -> Leaving | None:
        """How the agent leaves after this end; None: it goes on.

        Args:
            ended: the end.
            lived_s: how long the run had lived.
            config: its values, in a form that compares.
            logged: whether it has logged a row.
        """
        reaction = "goes on" if ended.failure is None else POLICIES[ended.failure].agent
        quick = reaction in ("pauses", "stops") and lived_s < QUICK_S
        self.quick_failures = self.quick_failures + 1 if quick else 0
        if reaction != "stops" or logged:
            self._configs = ()
        elif config not in self._configs:
            self._configs += (config,)
        if len(self._configs) >= BROKEN_AFTER:
            return broken(ended.last_words or f"exit code {ended.code}")
        return None

    @property
    def why(self) -> str:
        """The reason of the pause."""
        return f"{self.quick_failures} runs in a row failed at once"

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next run."""
        return pause_before_next(self.quick_failures)


def pause_before_next(quick_failures: int) -> float:
    """Seconds to wait after runs in a row that failed within two: 1, 2, 4 … 30, from the third on.

    Two such runs can be the luck of the draw; from the third on the program is likely broken.
    """
    return 0.0 if quick_failures < 3 else min(30.0, 2.0 ** (quick_failures - 3))
