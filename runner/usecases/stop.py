"""`runner stop` ends agents and their runs; `runner down` also removes containers, not data."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from runner.engine.client import Engine
from runner.fleet.agents import Agent
from runner.fleet.carry_out import Result, carry_out
from runner.fleet.plan import plan_stop
from runner.launchers.docker.command import remove_keeping
from runner.launchers.docker.copy_out import remove_agents
from runner.launchers.docker.observe import read_fleet
from runner.launchers.docker.stop import stop_agent
from runner.server_container.container import find_server, network_name, remove_server
from runner.server_container.health import KeyRefused, read_health
from runner.state.folder import State
from runner.usecases.agents import find_agent
from runner.usecases.session import Session

OnResult = Callable[[Result], None]  # called as each action ends, from several threads


def stop_agents(
    session: Session, names: Sequence[str], *, dry_run: bool, on_result: OnResult
) -> list[Result]:
    """Stop the agents of these names; without names, all agents.

    Args:
        session: of this call.
        names: of agents; empty: all.
        dry_run: only plan.
        on_result: called with each result, from several threads.

    Raises:
        RunnerError: no agent has one of the names (3).
    """
    engine = session.engine()
    agents = [one for one in read_fleet(engine, session.state) if not one.retired]
    chosen = [find_agent(agents, name) for name in names] if names else agents
    return _stop(session, engine, chosen, dry_run=dry_run, on_result=on_result)


def take_down(session: Session, *, dry_run: bool, on_result: OnResult) -> list[Result]:
    """Stop the fleet and remove its containers; remove its server if no run logs to it."""
    engine, state, report = session.engine(), session.state, session.report
    agents = read_fleet(engine, state)
    alive = [agent for agent in agents if agent.alive]
    results = _stop(session, engine, alive, dry_run=dry_run, on_result=on_result)
    if not dry_run and all(result.outcome == "done" for result in results):
        remove_agents(engine, state, agents, report)
        remove_keeping(engine, state.fleet)
        _remove_keys(state)
        names = ", ".join(agent.name for agent in agents)
        report(f"removed {names}" if agents else "there were no agents")
        _remove_server(session, engine)
        report(f"kept in `{state.root}`: runs, checkpoints, working copies, sweeps")
    return results


def _stop(
    session: Session,
    engine: Engine,
    agents: Sequence[Agent],
    *,
    dry_run: bool,
    on_result: OnResult,
) -> list[Result]:
    actions = plan_stop(agents)
    if dry_run:
        return [Result(action, "planned") for action in actions]
    grace_s = session.settings.run.grace_s
    return carry_out(
        actions,
        lambda action: stop_agent(engine, session.state, action, grace_s=grace_s),
        on_result,
    )


def _remove_keys(state: State) -> None:
    for folder in (state.secrets / name for name in ("agents", "compose", "wandb")):
        for file in folder.iterdir() if folder.is_dir() else []:
            file.unlink()


def _remove_server(session: Session, engine: Engine) -> None:
    """Remove the server unless a run still logs to it."""
    server, health = find_server(engine, session.state), None
    with suppress(KeyRefused):  # the key file was replaced: no run can log to it any more
        health = read_health(server.url, server.key) if server else None
    if health is not None and health.runs_live:
        session.report(
            f"kept the sweep server: live runs log to it ({health.runs_live}); "
            "run `runner down` again when they have ended"
        )
        return
    if remove_server(engine, session.state):
        session.report("removed the sweep server; its data stays")
    engine.networks.remove(network_name(session.state))
