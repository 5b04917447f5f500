"""The limits of a run in time. Pure."""

from dataclasses import dataclass

LONGEST_STEP_S = 5.0  # between two looks: what is beyond, the machine or the agent was paused


@dataclass
class Clock:
    """The time that a run has had, and how long it has done nothing.

    A pause of the whole machine or container does not count as the run's time.
    """

    run_timeout_s: "float | None"
    idle_timeout_s: "float | None"
    at: float  # monotonic, of the last look
    lived_s: float = 0.0
    idle_s: float = 0.0

    def tick(self, now: float, *, active: bool) -> "str | None":
        """Which limit is over, in words.

        Args:
            now: monotonic.
            active: since the last look the run printed something, or used CPU or GPU.
        """
        step_s, self.at = min(now - self.at, LONGEST_STEP_S), now
        self.lived_s += step_s
        self.idle_s = 0.0 if active else self.idle_s + step_s
        if self.run_timeout_s is not None and self.lived_s >= self.run_timeout_s:
            return f"it has run for {self.run_timeout_s:g} s"
        if self.idle_timeout_s is not None and self.idle_s >= self.idle_timeout_s:
            return f"no output, CPU or GPU use for {self.idle_timeout_s:g} s"
        return None
