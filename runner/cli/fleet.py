"""Commands: `ps`, `stop`, `down` and `env`; `gpus`, `up` and `logs` have modules of their own."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner import console
from runner.cli import gpus, logs, render, up
from runner.cli.logs import find_agent
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.engine.client import Engine
    from runner.fleet.apply import Result
    from runner.fleet.plan import Agent
    from runner.state import State

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[AGENT…]", help="Agents (default: all).")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(gpus.gpus)
    app.command(context_settings={"allow_interspersed_args": True})(up.up)
    app.command()(ps)
    app.command()(logs.logs)
    app.command()(stop)
    app.command()(down)
    app.command()(env)


def ps(
    every: Annotated[
        bool, typer.Option("--all", help="Also ended agents that others replaced.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The fleet as it is: each agent, its GPU, its run and how it stands."""
    from runner.engine.listing import list_containers
    from runner.engine.target import find_target
    from runner.fleet.observe import ROLE, read_fleet, read_indices, select_fleet, to_record
    from runner.usecases.session import open_context

    context = open_context(read_only=True)
    target = find_target(context.settings.engine, context.state, os.environ)
    listed = list_containers(target, ROLE)
    agents = (
        read_fleet(context.engine(), context.state)
        if listed is None
        else select_fleet(listed, context.state)
    )
    shown = [agent for agent in agents if every or not agent.retired]
    indices = read_indices() if any(one.slot and not one.slot.is_cpu for one in shown) else {}
    now = time.time()
    records = [to_record(agent, indices, now=now) for agent in shown]
    if as_json:
        console.data(console.to_json({"fleet": context.state.fleet, "agents": records}))
        return
    if not records:
        console.data(f"fleet {context.state.fleet} has no agents: `runner up` starts them")
        return
    header = ("AGENT", "GPU", "STATE", "RUN", "FINISHED", "FAILED", "SWEEP", "REASON")
    rows = [_ps_row(agent, record) for agent, record in zip(shown, records, strict=True)]
    console.data(console.table(header, rows))


def stop(
    names: NamesArgument = None, dry_run: DryRunOption = False, as_json: JsonOption = False
) -> None:
    """Let runs end their step and save; agents stay down until the next `up`."""
    from runner.fleet.observe import read_fleet
    from runner.usecases.session import open_context

    context = open_context(read_only=dry_run)
    engine = context.engine()
    agents = [one for one in read_fleet(engine, context.state) if not one.retired]
    chosen = [find_agent(agents, name) for name in names] if names else agents
    results = _stop(engine, context.state, chosen, context.settings.run.grace_s, dry_run=dry_run)
    _tell(context.state, results, as_json=as_json, dry_run=dry_run)


def down(dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """Stop the fleet and remove its containers, and the server when nothing uses it; data stays."""
    from runner.fleet.observe import read_fleet
    from runner.fleet.rescue import remove_agents
    from runner.usecases.session import open_context

    context = open_context(read_only=dry_run)
    engine, state = context.engine(), context.state
    agents = read_fleet(engine, state)
    alive = [agent for agent in agents if agent.alive]
    results = _stop(engine, state, alive, context.settings.run.grace_s, dry_run=dry_run)
    if not dry_run and all(result.outcome == "done" for result in results):
        remove_agents(engine, state, agents, console.note)
        _remove_keys(state)
        names = ", ".join(agent.name for agent in agents)
        console.note(f"removed {names}" if agents else "there were no agents")
        _remove_server(engine, state)
        console.note(f"kept in `{state.root}`: runs, checkpoints, working copies, sweeps")
    _tell(state, results, as_json=as_json, dry_run=dry_run)


def env(server: up.ServerOption = None) -> None:
    """Exports for a shell or notebook, so that wandb by hand uses the same server."""
    import shlex

    from runner.sweeps.place import LOCAL_ENTITY
    from runner.usecases.session import open_context

    context = open_context(read_only=True)
    connection = context.servers(server, own="find").get()
    names = context.names()
    values = {
        "WANDB_BASE_URL": connection.client.url,
        "WANDB_ENTITY": names.entity or (LOCAL_ENTITY if connection.kind == "runner" else None),
        "WANDB_PROJECT": names.project or names.fallback_project,
        "WANDB_API_KEY": connection.key if connection.own else None,
    }
    for name, value in values.items():
        if value is not None:
            console.data(f"export {name}={shlex.quote(value)}")


def _ps_row(agent: "Agent", record: dict[str, Any]) -> tuple[object, ...]:
    index = record["gpus"][0]["index"]
    is_gpu = agent.slot is not None and not agent.slot.is_cpu
    return (
        record["name"],
        index if is_gpu and index is not None else agent.place[:12],
        record["state"],
        record["run"]["id"] if record["run"] else "-",
        record["runs_finished"],
        record["runs_failed"],
        record["sweep"],
        record["reason"] or "",
    )


def _stop(
    engine: "Engine", state: "State", agents: "Sequence[Agent]", grace_s: int, *, dry_run: bool
) -> "list[Result]":
    from runner.fleet.apply import Result, carry_out, stop_agent
    from runner.fleet.plan import plan_stop

    actions = plan_stop(agents)
    if dry_run:
        return [Result(action, "planned") for action in actions]
    return carry_out(
        actions,
        lambda action: stop_agent(engine, state, action, grace_s=grace_s),
        render.report_result,
    )


def _tell(state: "State", results: "Sequence[Result]", *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        records = [result.to_record() for result in results]
        console.data(console.to_json({"fleet": state.fleet, "actions": records}))
    elif dry_run:
        console.data(render.plan_table(results))
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(int(ExitCode.FAILED))


def _remove_keys(state: "State") -> None:
    for folder in (state.secrets / name for name in ("agents", "compose", "wandb")):
        for file in folder.iterdir() if folder.is_dir() else []:
            file.unlink()


def _remove_server(engine: "Engine", state: "State") -> None:
    """The server goes unless somebody's run still logs to it."""
    from runner.localserver.container import find_server, network_name, remove_server
    from runner.localserver.health import KeyRefused, read_health

    server, health = find_server(engine, state), None
    with suppress(KeyRefused):  # the key file was replaced: nobody can log to it any more
        health = read_health(server.url, server.key) if server else None
    if health is not None and health.runs_live:
        console.note(
            f"kept the sweep server: live runs log to it ({health.runs_live}); "
            "`runner down` again when they have ended"
        )
        return
    if remove_server(engine, state):
        console.note("removed the sweep server; its data stay")
    engine.remove_network(network_name(state))
