"""`up --wait`: until nobody else uses the GPUs that were asked for."""

import time
from collections.abc import Sequence

from runner.engine.client import Engine
from runner.fleet.agents import Agent
from runner.fleet.plan import Wanted, plan_fleet
from runner.fleet.selection import Selection, Slot, TooFewFreeError
from runner.launchers.docker.observe import read_agents
from runner.usecases.session import Session
from runner.usecases.slots import find_slots

POLL_S = 2.0


def wait_for_slots(
    session: Session, engine: Engine, selection: Selection, *, force: bool
) -> Sequence[Slot]:
    """The selected slots, once each is free or our own; reports what it waits for.

    Raises:
        RunnerError: there is no such GPU.
    """
    told: set[str] = set()
    while causes := find_causes(session, engine, selection, force=force):
        for cause in causes:
            if cause not in told:
                session.report(f"waits: {cause}")
        told = {*causes}
        time.sleep(POLL_S)
    return find_slots(session, read_agents(engine, session.state), selection)


def find_causes(
    session: Session, engine: Engine, selection: Selection, *, force: bool
) -> Sequence[str]:
    """What keeps the selected slots from being ours, a line each; empty where nothing does.

    Raises:
        RunnerError: there is no such GPU.
    """
    agents = read_agents(engine, session.state)
    try:
        slots = find_slots(session, agents, selection)
    except TooFewFreeError as error:
        return [error.message]
    return find_busy(slots, agents, session.state.fleet, force=force)


def find_busy(
    slots: Sequence[Slot], agents: Sequence[Agent], fleet: str, *, force: bool
) -> Sequence[str]:
    """What keeps these slots from being ours. Nobody waits for a lost GPU: the plan refuses it."""
    plan = plan_fleet(slots, agents, Wanted(fleet, None, "", ""), force=force)
    refused = [one for one in plan if one.do == "refuse" and one.slot is not None]
    if any(one.slot and one.slot.state == "lost" for one in refused):
        return []
    return [f"{one.uuid}: {one.cause.partition('; `--force`')[0]}" for one in refused]
