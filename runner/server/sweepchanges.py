"""What clients change of sweeps: create one, pause or end it, join it, ask for its next run."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.server.heartbeat import beat
from runner.server.logs import note
from runner.server.records import SWEEP_STATES, Agent, Sweep, replace
from runner.server.recount import count_anew, score_prior
from runner.server.service import Reading, Service, new_id, place_of
from runner.server.views import Views
from runner.server.wire import (
    Args,
    Node,
    Refused,
    dumps,
    json_object,
    local_names,
    objects,
    required,
    text,
)
from runner.sweepfile import Diagnostic

log = logging.getLogger(__name__)
MAX_PRIOR = 1000  # runs that a sweep may be told to learn from
CHOSEN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class SweepChanges:
    """The changes of sweeps and agents that one request asks for."""

    service: Service
    views: Views

    def roots(self) -> dict[str, Callable[[Args], Node]]:
        """By the names of the mutations' root fields; each takes the `input`."""
        return {
            "upsertSweep": self.upsert_sweep,
            "createAgent": self.create_agent,
            "agentHeartbeat": self.heartbeat,
        }

    def upsert_sweep(self, args: Args) -> Node:
        """Create a sweep, or change one."""
        self.views.access.check_admin()
        with self.service.store.transaction():
            if text(args, "id"):
                sweep, findings = self._changed(self._sweep_of(required(args, "id")), args)
            else:
                sweep, findings = self._created(args, required(args, "config"))
        warnings = [str(one) for one in findings if one.level == "warning"]
        return {"sweep": self.views.sweep(sweep), "configValidationWarnings": warnings}

    def create_agent(self, args: Args) -> Node:
        """Register an agent for a sweep."""
        store, now = self.service.store, self.service.clock()
        sweep = store.sweep(*place_of(args), required(args, "sweep"))
        if sweep is None:
            raise Refused(404, f"sweep {required(args, 'sweep')} not found")
        self.views.access.check_sweep(sweep)
        host, place = text(args, "host"), (sweep.entity, sweep.project, sweep.id)
        agent = Agent(new_id() + new_id(), *place, host, 0, None, now, now)
        store.put(agent)
        return {"agent": self.views.agent(agent)}

    def heartbeat(self, args: Args) -> Node:
        """An agent reports, and is told what to do."""
        commands = beat(self.service, args, self.views.access)
        return {"agent": {"id": args.get("id")}, "commands": dumps(commands)}

    def _created(self, args: Args, config: str) -> tuple[Sweep, Sequence[Diagnostic]]:
        store, now = self.service.store, self.service.clock()
        entity, project = place_of(args)
        sweep_id = text(args, "name") or new_id()
        if not CHOSEN_ID.fullmatch(sweep_id):
            raise Refused(400, "a sweep's ID is 1-64 letters, digits, `-` and `_`")
        reading = self._read(f"{entity}/{project}/{sweep_id}", config)
        spec, findings = reading.spec, reading.findings
        known = store.sweep(entity, project, sweep_id)
        if known is not None:
            if known.config != config:
                raise Refused(409, f"sweep {known.path} exists with another configuration")
            return known, findings
        self.service.ensure_project(entity, project)
        sweep = Sweep(
            entity=entity,
            project=project,
            id=sweep_id,
            config=config,
            state="RUNNING",
            name=text(args, "displayName") or (spec.name if spec else None),
            prior=json.dumps(_prior(args)),
            description=text(args, "description") or (spec.description if spec else None),
            created=now,
            updated=now,
        )
        store.put(sweep)
        note(log, "a sweep is made", sweep=sweep.path, method=spec.method if spec else None)
        self.service.remember_config(sweep, reading)
        if sweep.prior != "[]":
            score_prior(self.service, sweep)
        return sweep, findings

    def _changed(self, sweep: Sweep, args: Args) -> tuple[Sweep, Sequence[Diagnostic]]:
        store, now = self.service.store, self.service.clock()
        state, config = text(args, "state") or sweep.state, text(args, "config")
        if state not in SWEEP_STATES:
            raise Refused(400, f"a sweep's state is one of {', '.join(SWEEP_STATES)}")
        reading = self._read(sweep.path, config) if config else None
        changed = replace(
            sweep,
            state=state,
            config=config or sweep.config,
            name=text(args, "displayName") or sweep.name,
            description=text(args, "description") or sweep.description,
            updated=now,
        )
        store.put(changed)
        if state != sweep.state:
            note(log, "a sweep changes", sweep=sweep.path, state=state)
        if state == "CANCELED":
            for run in store.unfinished_runs(changed):
                if run.stop is None:
                    store.put(replace(run, stop="canceled", stop_at=now))
                    self.service.ages.note("stop", run.path)
        store.sums.set_exhausted(changed, exhausted=False)
        if reading is None:
            return changed, ()
        self.service.remember_config(changed, reading)
        if reading.config != sweep.config:
            count_anew(self.service, changed)
        return changed, reading.findings

    def _read(self, path: str, config: str) -> Reading:
        """The sweep file; refused with all of its errors where it has some."""
        reading = self.service.read_config(path, config)
        if reading.spec is None:
            wrong = [one for one in reading.findings if one.level == "error"]
            raise Refused(400, *(f"{one} ({one.hint})" if one.hint else str(one) for one in wrong))
        return reading

    def _sweep_of(self, opaque: str) -> Sweep:
        names = local_names(opaque, "Sweep")
        sweep = None
        if len(names) == 4:
            sweep = self.service.store.sweep(names[3], names[2], names[1])
        if sweep is None:
            raise Refused(404, "sweep not found")
        return sweep


def _prior(args: Args) -> list[str]:
    wanted = objects(json_object(text(args, "priorRunsFilters"), name="priorRunsFilters"), "$or")
    return [name for one in wanted if (name := text(one, "name"))][:MAX_PRIOR]
