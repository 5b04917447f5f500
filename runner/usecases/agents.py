"""Find agents by the names that a user types."""

from collections.abc import Sequence

from runner.agent.contract.labels import NAME_PREFIX
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent


def find_agent(agents: Sequence[Agent], name: str, *, what: str = "agent") -> Agent:
    """The agent of this name; the container's prefix `runner-` is optional, as is the fleet.

    Raises:
        RunnerError: no agent has this name (3); the hint lists the names.
    """
    wanted = name.removeprefix(NAME_PREFIX)
    for agent in agents:
        if wanted in (agent.name, agent.name.removeprefix(f"{agent.fleet}-")):
            return agent
    listed = ", ".join(f"`{agent.name}`" for agent in agents if not agent.retired)
    raise RunnerError(
        f"there is no {what} `{name}` in this fleet",
        hint=f"its agents: {listed}" if listed else "it has no agents; `runner up` starts them",
        code=ExitCode.NOT_FOUND,
    )
