"""Command: `logs`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from runner import console
from runner.agent.contract.labels import NAME_PREFIX
from runner.cli.session import open_session
from runner.engine.client import Engine
from runner.fleet.agents import Agent
from runner.launchers.docker.observe import read_fleet
from runner.usecases.agents import find_agent


def logs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[AGENT|RUN…]", help="Agents, or runs (default: all agents)."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing new lines.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("-n", "--tail", min=0, help="Lines per agent.")
    ] = None,
) -> None:
    """Show the log lines of agents and runs.

    Each line begins with the agent's name.
    """
    session = open_session(read_only=True)
    engine = session.engine()
    agents = read_fleet(engine, session.state)
    wanted = [name.removeprefix(NAME_PREFIX) for name in names or ()]
    whole = _select_whole(agents, wanted)
    runs = set(wanted) - {name for agent in whole for name in _names_of(agent)}
    parts = _find_logs_of(engine, agents, runs) if runs else []
    sources = {agent.name: agent.container for agent in (*whole, *parts)}
    full = {agent.name for agent in whole}
    for name, line in engine.logs.together(sources, follow=follow, tail=None if parts else tail):
        if name in full or line.text.partition(" | ")[0] in runs:
            console.log_line(name, line.text)


def _select_whole(agents: Sequence[Agent], names: Sequence[str]) -> list[Agent]:
    """The named agents; without names, all that no other agent has replaced."""
    if not names:
        return [agent for agent in agents if not agent.retired]
    return [agent for agent in agents if _names_of(agent) & {*names}]


def _names_of(agent: Agent) -> set[str]:
    return {agent.name, agent.name.removeprefix(f"{agent.fleet}-")}


def _find_logs_of(engine: Engine, agents: Sequence[Agent], runs: set[str]) -> list[Agent]:
    """The agents whose logs have lines of these runs.

    Raises:
        RunnerError: a name is neither an agent's nor a run's (3).
    """
    seen = {agent.name: _runs_in(engine, agent) for agent in agents}
    for run in runs:
        if not any(run in found for found in seen.values()):
            find_agent(agents, run, what="agent or run")
    return [agent for agent in agents if seen[agent.name] & runs]


def _runs_in(engine: Engine, agent: "Agent") -> set[str]:
    """Run IDs before the first `|` of the agent's log lines, and its current run."""
    written = {line.text.partition(" | ")[0] for line in engine.logs.of(agent.container)}
    return written | {agent.running_run or ""}
