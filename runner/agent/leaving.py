"""How an agent leaves: in which state, for what reason, with which exit code."""

from dataclasses import dataclass

from runner.agent.contract import exits
from runner.agent.contract.failures import BROKEN_AFTER
from runner.agent.contract.status import AgentState
from runner.agent.failures import Ended


@dataclass(frozen=True)
class Leaving:
    """No further run will start here, and why."""

    state: AgentState
    reason: str
    exit_code: int
    until: float = float("inf")  # after that the server is told no more, monotonic

    @property
    def interrupted(self) -> bool:
        """Told from outside: the run at hand is no run done."""
        return self.state == "stopped"


CRASHED = Leaving("failed", "the agent crashed; its log has the traceback", exits.AGENT_CRASHED)
NO_MORE_RUNS = Leaving("finished", "the sweep has no more runs", exits.AGENT_DONE)
SWEEP_GONE = Leaving("finished", "the sweep is gone from its server", exits.AGENT_DONE)
TO_BE_REPLACED = Leaving("finished", "ended after its run, to be replaced", exits.AGENT_DONE)


def count_reached(count: int) -> Leaving:
    """The end of an agent that was to have so many runs."""
    return Leaving("finished", f"count of {count} reached", exits.AGENT_DONE)


def broken(last_line: str) -> Leaving:
    """The program fails whatever its configuration."""
    reason = f"{BROKEN_AFTER} different configurations in a row are invalid: {last_line}"
    return Leaving("failed", reason, exits.AGENT_DONE)  # another start would not help


def quarantined(reason: str) -> Leaving:
    """The GPU is not to be trusted with another run."""
    return Leaving("quarantined", reason, exits.AGENT_DONE)


def refused(reason: str) -> Leaving:
    """The server, the GPU or the settings do not let it work."""
    return Leaving("failed", reason, exits.AGENT_REFUSED)


def stopped(until: float = 0.0) -> Leaving:
    """SIGTERM or SIGINT came."""
    return Leaving("stopped", "told to stop", exits.AGENT_STOPPED, until)


def describe_code(code: int) -> str:
    """`exit code 1`; `signal 9`."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def describe_end(ended: Ended, lived_s: float) -> str:
    """One line for the container's log."""
    after = f"after {lived_s:.1f} s"
    if ended.failure is None:
        return f"{ended.run} finished {after}"
    how = None if ended.code is None else describe_code(ended.code)
    if ended.code == exits.RUN_NOT_STARTED and ended.lines:
        how = ended.lines[-1]
    said = ", ".join(filter(None, (ended.failure, ended.detail, how)))
    return f"{ended.run} ended {after}: {said}"
