"""What clients change of runs: create, describe, resume, rewind, stop; where their files go."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from runner.run_states import OVER, RUN_STATES
from runner.server.ends import begin_anew
from runner.server.filenodes import storage_path
from runner.server.records import Run, blank_run, replace
from runner.server.scores import add_summary, place_anew, score_anew
from runner.server.service import DEFAULT_ENTITY, Service, new_id, place_of
from runner.server.stream import rewind
from runner.server.views import Views
from runner.server.wire import (
    Args,
    Node,
    Refused,
    dumps,
    global_id,
    json_object,
    local_names,
    number,
    required,
    text,
    texts,
)

RUN_ID = re.compile(r"[^/\\#?%:\x00-\x1f]{1,128}")


@dataclass(frozen=True, slots=True)
class RunChanges:
    """The changes of runs that one request asks for."""

    service: Service
    views: Views

    def roots(self) -> dict[str, Callable[[Args], Node]]:
        """By the names of the mutations' root fields; each takes the `input`."""
        return {
            "upsertBucket": self.upsert_bucket,
            "rewindRun": self.rewind_run,
            "stopRun": self.stop_run,
            "upsertModel": self.upsert_model,
            "createRunFiles": self.create_run_files,
            "markRunFilesUploaded": lambda _: {"success": True},
            "notifyScriptableRunAlert": lambda _: {"success": True},
        }

    def upsert_bucket(self, args: Args) -> Node:
        """Create a run, or change what is known of it; a run's process says that it is here."""
        store = self.service.store
        by_id = local_names(text(args, "id") or "", "Run")
        with store.transaction():
            if len(by_id) == 4:
                run, inserted = self._run_of(required(args, "id")), False
                self._check(run, text(args, "sweep"))
            else:
                run, inserted = self._named(args)
                self._check(None if inserted else run, text(args, "sweep"))
                run = self._present(run)
            run = self._described(run, args, before=None if inserted else run)
            store.put(run)
        return {"bucket": self.views.run(run), "inserted": inserted}

    def rewind_run(self, args: Args) -> Node:
        """Cut a run's history behind a step."""
        step = number(args.get("metricValue"))
        if text(args, "metricName") not in (None, "_step") or step is None:
            raise Refused(400, "a run can be rewound to a `_step` only")
        with self.service.store.transaction():
            run = self.service.store.run(*place_of(args), required(args, "runName"))
            if run is None:
                raise Refused(404, f"run {required(args, 'runName')} not found")
            self._check(run)
            run = rewind(self.service, self._present(run), step)
            self.service.store.put(run)
        return {"rewoundRun": self.views.run(run)}

    def stop_run(self, args: Args) -> Node:
        """Ask a run to stop: its stream is told first, then its agent."""
        with self.service.store.transaction():
            run = self._run_of(required(args, "id"))
            self._check(run)
            if run.state not in OVER and run.stop is None:
                self.service.store.put(replace(run, stop="user", stop_at=self.service.clock()))
                self.service.ages.note("stop", run.path)
        return {"success": True, "clientMutationId": None}

    def upsert_model(self, args: Args) -> Node:
        """Make a W&B project known."""
        entity, name = text(args, "entityName") or DEFAULT_ENTITY, required(args, "name")
        inserted = self.service.store.project(entity, name) is None
        if inserted or not self.views.access.sees_project(entity, name):
            self.views.access.check_admin()
        self.service.ensure_project(entity, name)
        project = self.service.store.project(entity, name)
        node = self.views.project(project) if project else None
        return {"project": node, "model": node, "inserted": inserted}

    def create_run_files(self, args: Args) -> Node:
        """URLs to which a run's files are put."""
        entity, project = place_of(args)
        run_id = required(args, "runName")
        run = self.service.store.run(entity, project, run_id)
        if run is None:
            raise Refused(404, f"run {entity}/{project}/{run_id} not found")
        self._check(run)

        def target(name: str) -> str:
            return self.views.signed(storage_path(entity, project, run_id, name), write=True)

        return {
            "runID": global_id("Run", "v1", run_id, project, entity),
            "uploadHeaders": [],
            "files": [{"name": name, "uploadUrl": target(name)} for name in texts(args, "files")],
        }

    def _check(self, run: Run | None, sweep: str | None = None) -> None:
        self.views.access.check_run(run, sweep=sweep)

    def _run_of(self, opaque: str) -> Run:
        names = local_names(opaque, "Run")
        run = None
        if len(names) == 4:
            run = self.service.store.run(names[3], names[2], names[1])
        if run is None:
            raise Refused(404, "run not found")
        return run

    def _named(self, args: Args) -> tuple[Run, bool]:
        entity, project = place_of(args)
        name = text(args, "name") or new_id()
        if not RUN_ID.fullmatch(name):
            raise Refused(400, "a run's ID is 1-128 characters without / \\ # ? % :")
        run = self.service.store.run(entity, project, name)
        if run is not None:
            return run, False
        self.service.ensure_project(entity, project)
        return blank_run(entity, project, name, self.service.clock()), True

    def _present(self, run: Run) -> Run:
        """The run as its process reports for duty; one that had ended is resumed."""
        now = self.service.clock()
        self.service.ages.note("heard", run.path)
        if run.state in OVER or run.state == "preempted":
            run = replace(begin_anew(run), state="running", started=now)
        elif run.state == "pending" or run.started is None:
            run = replace(run, state="running", started=now, lost=0)
        return replace(run, heartbeat=now)

    def _described(self, run: Run, args: Args, *, before: Run | None) -> Run:
        sweep = text(args, "sweep")
        if sweep and self.service.store.sweep(run.entity, run.project, sweep) is None:
            raise Refused(404, f"sweep {sweep} not found")  # as W&B does (wandb/wandb issue 8115)
        state = text(args, "state") or run.state
        if state not in RUN_STATES:
            raise Refused(400, f"a run's state is one of {', '.join(RUN_STATES)}")
        run = replace(
            run,
            state=state,
            sweep=sweep or run.sweep,
            config=_json(args, "config", run.config),
            summary=_json(args, "summaryMetrics", run.summary),
            display=_kept(args, "displayName", run.display),
            grp=_kept(args, "groupName", run.grp),
            job_type=_kept(args, "jobType", run.job_type),
            notes=_kept(args, "notes", run.notes),
            host=_kept(args, "host", run.host),
            program=_kept(args, "jobProgram", run.program),
            repo=_kept(args, "jobRepo", run.repo),
            git_commit=_kept(args, "commit", run.git_commit),
            tags=run.tags if args.get("tags") is None else json.dumps(texts(args, "tags")),
        )
        return self._counted(before, run)

    def _counted(self, before: Run | None, run: Run) -> Run:
        """The run with what follows from its place in a sweep, its configuration and summary."""
        moved = before is None or before.sweep != run.sweep
        if moved or (before is not None and before.config != run.config and not run.suggested):
            run = place_anew(self.service, before, run)
        sweep = self.service.sweep_of(run)
        spec = self.service.spec(sweep) if sweep else None
        if moved and before is not None:
            return score_anew(self.service, run, spec)
        return add_summary(run, spec)


def _kept(args: Args, key: str, before: str | None) -> str | None:
    value = args.get(key)
    if value is None:
        return before
    if not isinstance(value, str):
        raise Refused(400, f"`{key}` must be a string")
    return value


def _json(args: Args, key: str, before: str) -> str:
    raw = text(args, key)
    return before if raw is None else dumps(json_object(raw, name=key, any_text=True))
