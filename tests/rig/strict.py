"""How the stand-in for W&B's cloud differs from our server, below HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.run_states import OVER
from runner.server.records import Agent, Artifact, Project, Run, Sweep
from runner.server.service import Service
from runner.server.store import Store
from runner.server.views import Views
from runner.server.wire import Args, Node, Refused

ONLY_OURS = {  # fields of our server that W&B does not have
    *("engine", "attempts", "failure", "agentName", "stoppedEarly", "durationS"),
    *("bestMetric", "lastMetric"),
}
Counts = tuple[int, int, int]  # rows of history, of events, of output


@dataclass(slots=True)
class Profile:
    """The key's owner, and the faults of the cloud; can be changed while it serves."""

    entity: str
    teams: tuple[str, ...] = ()
    others: tuple[str, ...] = ("stranger",)  # entities that exist; the key may read, not write
    lag_s: float = 5.0  # seconds that line counts lag
    limit_every: int = 25  # one of this many requests is answered 429; 0: none
    retry_after_s: int = 1
    lost_heartbeats: int = (
        0  # number of next heartbeats that are obeyed, but whose answers break off
    )
    lost_runs: int = 0  # the same, only for heartbeats that give out a run

    def readable(self, entity: str) -> bool:
        """Whether the entity exists."""
        return entity in (self.entity, *self.teams, *self.others)

    def writable(self, entity: str) -> bool:
        """Whether the key may write to the entity."""
        return entity in (self.entity, *self.teams)


class StrictStore(Store):
    """Ends a run only when its stream does; remembers deleted runs and how counts grew."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        super().__init__(root)
        self._clock = clock
        self._streaming = False
        self._grown: dict[str, list[tuple[float, Counts]]] = {}
        self._graves = root / "deleted"

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A transaction in which a run may end."""
        with self.transaction():
            self._streaming = True
            try:
                yield
            finally:
                self._streaming = False

    def put(self, record: Project | Sweep | Agent | Run | Artifact) -> None:
        """Store a run; ignores an end that does not come from its stream."""
        if isinstance(record, Run):
            record = self._believed(record)
            counts = record.history_rows, record.events_rows, record.output_rows
            grown = self._grown.setdefault(record.path, [])
            if not grown or grown[-1][1] != counts:
                grown.append((self._clock(), counts))
        super().put(record)

    def counts(self, run: Run, at: float) -> Counts:
        """The run's line counts at that time."""
        grown = self._grown.get(run.path)
        if grown is None:  # counted before this process
            return run.history_rows, run.events_rows, run.output_rows
        then = [counts for moment, counts in grown if moment <= at]
        return then[-1] if then else (0, 0, 0)

    def delete_run(self, entity: str, project: str, run_id: str) -> None:
        """Delete the run for good: its ID is never accepted again."""
        with self.transaction():
            self.database.execute(
                "delete from run where entity=? and project=? and id=?", (entity, project, run_id)
            )
        with self._graves.open("a") as file:
            file.write(f"{entity}/{project}/{run_id}\n")

    def is_deleted(self, entity: str, project: str, run_id: str) -> bool:
        """Whether a run with this ID was deleted."""
        if not self._graves.exists():
            return False
        return f"{entity}/{project}/{run_id}" in self._graves.read_text().splitlines()

    def delete_sweep(self, entity: str, project: str, sweep_id: str) -> None:
        """Delete the sweep and keep its runs."""
        where = "entity=? and project=? and id=?"
        with self.transaction():
            self.database.execute(f"delete from sweep where {where}", (entity, project, sweep_id))

    def _believed(self, run: Run) -> Run:
        if self._streaming:
            return run
        before = self.run(run.entity, run.project, run.id)
        if before and run.state != before.state and run.state in (*OVER, "preempted"):
            return replace(run, state=before.state, ended=before.ended)
        return replace(run, seen=1) if run.state == "pending" else run  # never given out again


@dataclass(frozen=True, slots=True)
class StrictViews(Views):
    """Nodes with the key's owner as viewer, and with counts that lag by `lag_s`."""

    profile: Profile = field(kw_only=True)
    lag_s: float = field(kw_only=True)

    def viewer(self) -> Node:
        """The key's owner and teams."""
        own, teams = self.profile.entity, self.profile.teams
        return {
            **Views.viewer(self),
            "entity": own,
            "username": own,
            "name": own,
            "email": f"{own}@example.org",
            "teams": {
                "edges": [{"node": self.entity(one)} for one in teams]
            },  # without its own entity
            "defaultEntity": self.entity(own),
        }

    def entity(self, name: str) -> Node:
        """An entity; the key's own is a user, the others are teams."""
        team = name != self.profile.entity
        return {
            **Views.entity(self, name),
            "isTeam": team,
            "entityType": "team" if team else "user",
            "readOnly": not self.profile.writable(name),
        }

    def project(self, project: Project) -> Node:
        """A project where an unknown sweep is 404, and resuming sees the true counts."""
        node, store = Views.project(self, project), self.service.store

        def bucket(args: Args) -> Node | None:
            run = store.run(project.entity, project.name, str(args.get("name")))
            return Views.run(self, run) if run else None

        def sweep(args: Args) -> object:
            found = node["sweep"](args)
            if found is None:
                raise Refused(404, f"sweep {args.get('sweepName') or args.get('id')} not found")
            return found

        return {**node, "bucket": bucket, "sweep": sweep}

    def run(self, run: Run) -> Node:
        """A run with line counts that lag."""
        node, store = Views.run(self, run), self.service.store
        if not self.lag_s or not isinstance(store, StrictStore):
            return node
        history, events, output = store.counts(run, self.service.clock() - self.lag_s)
        late = {
            "historyLineCount": history,
            "eventsLineCount": events,
            "logLineCount": output,
        }
        return {**node, **late}


def finish_drained(service: Service, sweep: Sweep) -> None:
    """End a sweep without further configurations once all its runs have ended."""
    if service.store.sums.is_exhausted(sweep) and sweep.state == "RUNNING":
        states = {run.state for run in service.store.runs_of_sweep(sweep)}
        if not states & {"running", "preempting", "preempted"}:
            service.store.put(replace(sweep, state="FINISHED", updated=service.clock()))
