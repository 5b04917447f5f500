"""The store's records as GraphQL nodes: the names that W&B's clients 0.17 to 0.31 ask for."""

import json
import posixpath
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from runner.search.engines import engine_of
from runner.server.access import ADMIN, Access
from runner.server.budget import Budget
from runner.server.filenodes import artifact_node, file_node, storage_path
from runner.server.filters import Listing, connection
from runner.server.limits import FILTER_BYTES
from runner.server.records import Agent, Artifact, Project, Run, Sweep, Upload
from runner.server.runnodes import account_fields, logged_fields
from runner.server.runquery import select_runs
from runner.server.service import DEFAULT_ENTITY, Service
from runner.server.wire import (
    Args,
    Node,
    Refused,
    global_id,
    iso,
    json_object,
    local_names,
    text,
    texts,
)

AGENT_SILENT_S = 60.0  # an agent that polls every 5 s is gone by then
NODE_COST = 40  # of a run or a project, in plain fields


@dataclass(frozen=True, slots=True)
class Views:
    """Makes nodes for one request; `base` is how the client reached the server."""

    service: Service
    base: str
    budget: Budget = field(default_factory=Budget)  # of the request's answer
    access: Access = ADMIN  # of the request's key

    def viewer(self) -> Node:
        """Who the key belongs to: there is one user."""
        return {
            "__typename": "User",
            "id": global_id("User", "1"),
            "entity": DEFAULT_ENTITY,
            "username": DEFAULT_ENTITY,
            "name": DEFAULT_ENTITY,
            "email": "local@localhost",
            "admin": False,
            "flags": "{}",
            "deletedAt": None,
            "teams": {"edges": []},
            "apiKeys": {"edges": []},
            "defaultEntity": self.entity(DEFAULT_ENTITY),
        }

    def entity(self, name: str) -> Node:
        """Any name is an entity."""
        return {
            "__typename": "Entity",
            "id": global_id("Entity", name),
            "name": name,
            "organization": None,
            "xxhashDigestsEnabled": False,
            "isTeam": False,
            "entityType": "user",
            "members": [],
            "available": False,
            "readOnly": False,
            "projects": lambda args: connection(self.projects(name), args, self.project),
        }

    def projects(self, entity: str | None) -> list[Project]:
        """The projects (of an entity) that the key opens."""
        found = self.service.store.projects(entity)
        return [one for one in found if self.access.sees_project(one.entity, one.name)]

    def project(self, project: Project) -> Node:
        """A W&B project with its sweeps and runs."""
        self.budget.spend(nodes=NODE_COST)
        store, entity, name = self.service.store, project.entity, project.name

        def run(args: Args) -> Node | None:
            found = store.run(entity, name, text(args, "name") or "")
            return self.run(found) if found and self.access.sees(found) else None

        def sweep(args: Args) -> Node | None:
            wanted = text(args, "sweepName") or text(args, "id") or ""
            found = store.sweep(entity, name, local_names(wanted, "Sweep")[-1])
            return self.sweep(found) if found and self.access.sees(found) else None

        def sweeps() -> list[Sweep]:
            return [one for one in store.sweeps(entity, name) if self.access.sees(one)]

        def runs(args: Args) -> Listing[Run]:
            where = {"entity": entity, "project": name} | self.access.where
            return self._selected(where, args)

        return {
            "__typename": "Project",
            "id": global_id("Project", "v1", name, entity),
            "internalId": _project_number(entity, name),
            "name": name,
            "entityName": entity,
            "entity": lambda _: self.entity(entity),
            "readOnly": False,
            "createdAt": iso(project.created),
            "isBenchmark": False,
            "user": lambda _: self.viewer(),
            "run": run,
            "bucket": run,
            "runs": lambda args: connection(runs(args), args, self.run),
            "runCount": lambda args: len(runs(args)),
            "sweep": sweep,
            "sweeps": lambda args: connection(sweeps(), args, self.sweep),
            "totalSweeps": lambda _: len(sweeps()),
            "artifactType": None,
            "artifact": None,
        }

    def sweep(self, sweep: Sweep) -> Node:
        """A sweep with its agents and runs."""
        store, spec = self.service.store, self.service.spec(sweep)

        def runs(args: Args) -> Listing[Run]:
            where = {"entity": sweep.entity, "project": sweep.project, "sweep": sweep.id}
            return self._selected(where, args)

        def agent(args: Args) -> Node | None:
            wanted = local_names(text(args, "agentName") or "", "Agent")[-1]
            return next((self.agent(a) for a in store.agents(sweep) if a.id == wanted), None)

        return {
            "__typename": "Sweep",
            "id": global_id("Sweep", "v1", sweep.id, sweep.project, sweep.entity),
            "name": sweep.id,
            "displayName": sweep.name,
            "method": spec.method,
            "engine": engine_of(spec.method).name,
            "state": sweep.state,
            "description": sweep.description,
            "config": sweep.config,
            "createdAt": iso(sweep.created),
            "updatedAt": iso(sweep.updated),
            "heartbeatAt": iso(sweep.updated),
            "earlyStopJobRunning": False,
            "bestLoss": lambda _: store.sums.best(sweep, spec.goal),
            "runCount": lambda _: store.sums.count_runs(sweep),
            "runCountExpected": spec.run_cap,
            "runs": lambda args: connection(runs(args), args, self.run),
            "project": lambda _: self._project_of(sweep),
            "agents": lambda args: connection(store.agents(sweep), args, self.agent),
            "agent": agent,
            "controller": None,
            "controllerRunName": None,
            "scheduler": None,
            "priorRuns": {"edges": []},
        }

    def agent(self, agent: Agent) -> Node:
        """An agent with the runs that it had."""
        store = self.service.store

        def runs() -> list[Run]:
            return [one for one in store.runs_of_agent(agent.id) if self.access.sees(one)]

        silent = self._silence(agent) > AGENT_SILENT_S
        return {
            "__typename": "Agent",
            "id": global_id("Agent", agent.id),
            "name": agent.id,
            "host": agent.host,
            "state": "DEAD" if silent else "RUNNING",
            "totalRuns": lambda _: store.count_runs_of_agent(agent.id),
            "createdAt": iso(agent.created),
            "heartbeatAt": iso(agent.heartbeat),
            "runs": lambda args: connection(runs(), args, self.run),
        }

    def _silence(self, agent: Agent) -> float:
        """Seconds since the agent was heard: of before the server's start only the clock knows."""
        if self.service.ages.knows("agent", agent.id):
            return self.service.ages.since("agent", agent.id)
        return self.service.clock() - agent.heartbeat

    def run(self, run: Run) -> Node:
        """A run: what it logged, how it is, and our own account of it."""
        self.budget.spend(nodes=NODE_COST)
        return {
            **self._identity(run),
            **logged_fields(self.service, self.budget, run),
            **self._files(run),
            **account_fields(self.service, self.budget, run),
        }

    def _identity(self, run: Run) -> dict[str, Any]:
        store = self.service.store

        def sweep(_: Args) -> Node | None:
            found = store.sweep(run.entity, run.project, run.sweep) if run.sweep else None
            return self.sweep(found) if found else None

        return {
            "__typename": "Run",
            "id": global_id("Run", "v1", run.id, run.project, run.entity),
            "name": run.id,
            "displayName": run.shown,
            "state": run.state,
            "config": run.config,
            "summaryMetrics": run.summary,
            "systemMetrics": "{}",
            "sweepName": run.sweep,
            "sweep": sweep,
            "group": run.grp,
            "jobType": run.job_type,
            "tags": json.loads(run.tags),
            "notes": run.notes,
            "description": None,
            "commit": run.git_commit,
            "host": run.host,
            "readOnly": False,
            "createdAt": iso(run.created),
            "updatedAt": iso(run.heartbeat),
            "heartbeatAt": iso(run.heartbeat),
            "exitcode": run.exit_code,
            "stopped": run.stop is not None,
            "shouldStop": run.stop is not None,
            "failed": run.state in ("failed", "crashed"),
            "running": run.state == "running",
            "projectId": _project_number(run.entity, run.project),
            "project": lambda _: self._project_of(run),
            "user": lambda _: self.viewer(),
            "suggestedConfig": run.suggested,
        }

    def _files(self, run: Run) -> dict[str, Any]:
        store = self.service.store

        def files(args: Args) -> list[Upload]:
            names = [posixpath.normpath(name) for name in texts(args, "names")]  # `./a.txt`
            return [one for one in store.uploads(run) if not names or one.name in names]

        return {
            "files": lambda args: connection(files(args), args, lambda one: self._file(run, one)),
            "fileCount": lambda _: len(store.uploads(run)),
            "outputArtifacts": lambda args: connection(store.outputs(run), args, self.artifact),
            "inputArtifacts": lambda args: connection((), args, dict),
        }

    def _file(self, run: Run, upload: Upload) -> Node:
        path = storage_path(run.entity, run.project, run.id, upload.name)
        return file_node(run, upload, self.signed(path, write=False))

    def artifact(self, artifact: Artifact) -> Node:
        """One version of an artifact."""
        root = self.service.store.root
        return artifact_node(root, artifact, lambda: self._project_of(artifact))

    def signed(self, path: str, *, write: bool) -> str:
        """The URL of `path` with a token."""
        query = self.service.tokens.sign(path, write=write, now=self.service.clock())
        return f"{self.base}{quote(path)}?{query}"

    def _project_of(self, record: Run | Sweep | Artifact) -> Node | None:
        project = self.service.store.project(record.entity, record.project)
        return self.project(project) if project else None

    def _selected(self, where: Mapping[str, str], args: Args) -> Listing[Run]:
        filters, order = text(args, "filters") or "", text(args, "order") or "+created_at"
        if len(filters) > FILTER_BYTES:
            raise Refused(400, f"`filters` is longer than {FILTER_BYTES >> 10} KiB")
        wanted = json_object(filters, name="filters")
        return select_runs(self.service.store, where, wanted, order, self.budget)


def _project_number(entity: str, name: str) -> str:
    """Clients want a project's internal ID to be a number."""
    return str(zlib.crc32(f"{entity}/{name}".encode()))
