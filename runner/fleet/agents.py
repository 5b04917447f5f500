"""An agent that was found, and its state for people and scripts."""

from collections.abc import Mapping
from dataclasses import dataclass

from runner.agent.contract import exits
from runner.agent.contract.labels import short_id
from runner.agent.contract.limits import STATUS_STALE_S
from runner.agent.contract.slots import SlotId
from runner.agent.contract.status import Status
from runner.agent.contract.sweeps import SweepPath

ALIVE = ("created", "running", "restarting", "paused")


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent container, from the engine and the agent's status file."""

    name: str  # the container's name without `runner-`
    container: str  # its ID
    fleet: str
    slot: SlotId | None  # None: neither label nor status names one
    engine_state: str
    exit_code: int | None
    sweep: SweepPath | None
    image: str  # ID
    settings_hash: str  # the value of `hash_settings` at its start
    server: str = ""
    status: Status | None = None  # None if another container wrote it
    damaged: str | None = None  # what is wrong with its status file
    more_slots: tuple[SlotId, ...] = ()  # of a command, beside `slot`
    command: str | None = None  # of `runner run`; None: it asks a sweep for runs
    keeps_for: str | None = None  # it is a placeholder: the name of the command whose GPU it keeps
    shared: bool = False  # from an earlier version, which keeps its files in `State.agents`

    @property
    def alive(self) -> bool:
        """Whether it holds its GPU, or may take it again at any moment."""
        return self.engine_state in ALIVE

    @property
    def running_run(self) -> str | None:
        """The ID of the run that it works on."""
        run = self.status.run if self.status and self.alive else None
        return run.id if run else None

    @property
    def runs_ended(self) -> int:
        """How many runs it has ended, whatever their outcome."""
        return self.status.runs_ended if self.status else 0

    @property
    def slots(self) -> tuple[SlotId, ...]:
        """All its slots; a command may have several."""
        return (self.slot, *self.more_slots) if self.slot else ()

    @property
    def place(self) -> str:
        """Its slots, for people."""
        return ",".join(map(str, self.slots)) or "an unknown slot"

    @property
    def retired(self) -> bool:
        """Whether a later container took its name; this one is kept for its log and reason."""
        return self.name.endswith(f"-{short_id(self.container)}")


def find_state_of(agent: Agent, *, now: float) -> tuple[str, str | None]:
    """State and reason for `ps`, from the container and its own status file."""
    why = agent.status.reason if agent.status else None
    match agent.engine_state:
        case "created":
            return "created", "was never started"
        case "running":
            return _state_alive(agent, why, now)
        case "restarting":
            return "starting", why or f"exit code {agent.exit_code}, the engine starts it again"
        case "paused":
            return "waiting", "paused by the engine"
        case _:
            return _state_ended(agent, why)


def find_index(slot: SlotId | None, indices: Mapping[str, int]) -> int | None:
    """The index of a GPU or CPU slot; None where NVML does not show it."""
    if slot is None:
        return None
    return slot.index if slot.is_cpu else indices.get(slot.text)


def _state_alive(agent: Agent, why: str | None, now: float) -> tuple[str, str | None]:
    status = agent.status
    if status is None:
        return ("unknown", f"damaged: {agent.damaged}") if agent.damaged else ("starting", None)
    age_s = now - status.updated_at
    if age_s > STATUS_STALE_S:
        return "unknown", f"no sign of life for {age_s:.0f} s"
    return status.state, why


def _state_ended(agent: Agent, why: str | None) -> tuple[str, str | None]:
    state = agent.status.state if agent.status else None
    if agent.exit_code == exits.AGENT_STOPPED:
        return "stopped", why
    if agent.status is None:
        why = f"damaged: {agent.damaged}" if agent.damaged else "it wrote no status"
        return "unknown", f"exit code {agent.exit_code}, and {why}"
    if agent.exit_code == exits.AGENT_DONE:
        return (state if state in ("quarantined", "failed") else "finished"), why
    return "failed", why or _explain_code(agent.exit_code)


def _explain_code(code: int | None) -> str:
    if code == exits.AGENT_KILLED:
        return f"killed by SIGKILL (exit code {code})"
    return f"exit code {code}"
