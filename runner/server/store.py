"""The one door to what the server keeps: SQLite behind one writer, and the files beside it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from runner.server.database import Database
from runner.server.disk import Disk
from runner.server.lines import Lines
from runner.server.names import safe_name
from runner.server.readers import Value
from runner.server.records import (
    NAMES,
    Agent,
    Artifact,
    Project,
    Record,
    Run,
    Sweep,
    Upload,
    restore,
)
from runner.server.statements import INSERT_RUN, PUT, SELECT
from runner.server.sums import IN_ORDER, LIVE_STATES, OF_SWEEP, SORTED, Key, Sums, key_of
from runner.sweepfile.model import Goal


class Store:
    """State in `DIR/server.db`, the runs' files below `DIR/runs`.

    Every method may be called from any thread. What is read and written inside of `transaction`
    is one unit: no other thread comes between, and a kill leaves all of it or nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.disk = root, Disk(root)
        self.database = Database(root / "server.db")
        self.lines, self.sums = Lines(self.database), Sums(self.database)
        self._runs: dict[Key, Run] = {}  # as they are in the transaction
        self._sweeps: dict[Key, Sweep] = {}
        self._generation = -1  # of the database, when they were read

    def close(self) -> None:
        """Let go of the database; its write-ahead log is folded in."""
        self.database.close()

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; may be nested, then the outermost decides (`Database.transaction`)."""
        return self.database.transaction()

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the present transaction is on the disk; never, if it is undone."""
        self.database.after_commit(tell)

    def put(self, record: Project | Sweep | Agent | Run | Artifact) -> None:
        """Write a record over the one with the same key; only what differs is written."""
        with self.transaction():
            if isinstance(record, Run):
                self._put_run(record)
                return
            values = [getattr(record, name) for name in NAMES[type(record)]]
            self.database.execute(PUT[type(record)], values)
            if isinstance(record, Sweep):
                self._read_before()
                self._sweeps[key_of(record)] = record

    def delete(self, record: Run | Sweep) -> None:
        """Remove the record; in a transaction, which does not see it from now on."""
        key = record.entity, record.project, record.id
        table = type(record).__name__.lower()
        sql = f"delete from {table} where entity=? and project=? and id=?"  # noqa: S608 - ours
        self.database.execute(sql, key)
        runs = self._read_before()
        (self._sweeps if isinstance(record, Sweep) else runs).pop(key, None)

    def project(self, entity: str, name: str) -> Project | None:
        """The project, if anything was ever put into it."""
        return self._one(Project, "entity=? and name=?", entity, name)

    def projects(self, entity: str | None = None) -> list[Project]:
        """All projects (of an entity), oldest first."""
        if entity is None:
            return self._all(Project, "1 order by created")
        return self._all(Project, "entity=? order by created", entity)

    def sweep(self, entity: str, project: str, sweep_id: str) -> Sweep | None:
        """The sweep, if there is one."""
        key = entity, project, sweep_id
        if not self.database.is_inside:
            return self._one(Sweep, "entity=? and project=? and id=?", *key)
        self._read_before()
        found = self._sweeps.get(key)
        if found is None:
            found = self._one(Sweep, "entity=? and project=? and id=?", *key)
            if found is not None:
                self._sweeps[key] = found
        return found

    def sweeps(self, entity: str | None = None, project: str | None = None) -> list[Sweep]:
        """All sweeps (of a project), oldest first."""
        if entity is None or project is None:
            return self._all(Sweep, f"1 {IN_ORDER}")
        return self._all(Sweep, f"entity=? and project=? {IN_ORDER}", entity, project)

    def running_sweeps(self) -> list[Sweep]:
        """The sweeps that hand out runs."""
        return self._all(Sweep, f"state='RUNNING' {IN_ORDER}")

    def agent(self, agent_id: str) -> Agent | None:
        """The agent, if there is one."""
        return self._one(Agent, "id=?", agent_id)

    def agents(self, sweep: Sweep, *, host: str | None = None) -> list[Agent]:
        """All agents that ever registered for a sweep (from one host), oldest first."""
        if host is None:
            return self._all(Agent, f"{OF_SWEEP} {IN_ORDER}", *key_of(sweep))
        return self._all(Agent, f"{OF_SWEEP} and host=? {IN_ORDER}", *key_of(sweep), host)

    def run(self, entity: str, project: str, run_id: str) -> Run | None:
        """The run, if there is one."""
        key = entity, project, run_id
        if not self.database.is_inside:
            return self._one(Run, "entity=? and project=? and id=?", *key)
        found = self._read_before().get(key)
        if found is None:
            found = self._one(Run, "entity=? and project=? and id=?", *key)
            if found is not None:
                self._runs[key] = found
        return found

    def runs(self, entity: str, project: str) -> list[Run]:
        """All runs of a project, oldest first."""
        return self._all(Run, f"entity=? and project=? {IN_ORDER}", entity, project)

    def runs_of_sweep(self, sweep: Sweep) -> list[Run]:
        """All runs of a sweep, oldest first."""
        return self._all(Run, f"{OF_SWEEP} {IN_ORDER}", *key_of(sweep))

    def runs_of_agent(self, agent_id: str) -> list[Run]:
        """All runs that an agent holds or held last, oldest first."""
        return self._all(Run, f"agent=? {IN_ORDER}", agent_id)

    def count_runs_of_agent(self, agent_id: str) -> int:
        """How many runs an agent holds or held last."""
        return self.count_selected("agent=?", (agent_id,))

    def count_live_runs(self) -> int:
        """How many runs have not ended."""
        return self.count_selected(f"state in ({LIVE_STATES})", ())

    def count_sweeps(self) -> int:
        """How many sweeps there are."""
        return int(self.database.execute("select count(*) from sweep")[0][0])

    def live_runs(self) -> list[Run]:
        """All runs that have not ended."""
        return self._all(Run, f"state in ({LIVE_STATES})")

    def live_runs_of_agent(self, agent_id: str) -> list[Run]:
        """The runs of an agent that have not ended, oldest first."""
        return self._all(Run, f"agent=? and state in ({LIVE_STATES}) {IN_ORDER}", agent_id)

    def live_runs_of_sweep(self, sweep: Sweep) -> list[Run]:
        """The runs of a sweep that have not ended, oldest first."""
        where = f"{OF_SWEEP} and state in ({LIVE_STATES}) {SORTED}"
        return self._all(Run, where, *key_of(sweep))

    def unfinished_runs(self, sweep: Sweep) -> list[Run]:
        """The runs of a sweep that have not ended, or that wait to go on, oldest first."""
        where = f"{OF_SWEEP} and state in ({LIVE_STATES}, 'preempted') {SORTED}"
        return self._all(Run, where, *key_of(sweep))

    def first_preempted(self, sweep: Sweep) -> Run | None:
        """The run that waits for the longest time to go on."""
        where = f"{OF_SWEEP} and state='preempted' order by ended"
        return self._one(Run, where, *key_of(sweep))

    def select_runs(self, where: str, values: Sequence[Value]) -> Iterator[Run]:
        """The runs that a condition of `runquery` selects, one after the other."""
        rows = self.database.iterate(f"{SELECT[Run]}{where}", values)
        return (restore(Run, row) for row in rows)

    def count_selected(self, where: str, values: Sequence[Value]) -> int:
        """How many runs it selects."""
        return int(self.database.execute(f"select count(*) from run where {where}", values)[0][0])  # noqa: S608 - ours

    def newest_runs(self, sweep: Sweep, count: int) -> list[Run]:
        """The last runs of a sweep, newest first."""
        where = f"{OF_SWEEP} order by created desc, rowid desc limit ?"
        return self._all(Run, where, *key_of(sweep), count)

    def best_run(self, sweep: Sweep, goal: Goal) -> Run | None:
        """The run with the best value, the oldest of equals."""
        best = self.sums.best(sweep, goal)
        if best is None:
            return None
        return self._one(Run, f"{OF_SWEEP} and best=? {IN_ORDER}", *key_of(sweep), best)

    def put_upload(self, entity: str, project: str, run: str, upload: Upload) -> None:
        """Note that a run's file is here."""
        with self.transaction():
            self.database.execute(
                "insert or replace into upload values(?,?,?,?,?,?)",
                (entity, project, run, upload.name, upload.size, upload.updated),
            )

    def correct_upload(self, run: Run, name: str, size: int | None) -> None:
        """Note how large a run's file is, or that there is none."""
        key = run.entity, run.project, run.id, name
        with self.transaction():
            if size is None:
                sql = "delete from upload where entity=? and project=? and run=? and name=?"
                self.database.execute(sql, key)
            else:
                sql = "update upload set size=? where entity=? and project=? and run=? and name=?"
                self.database.execute(sql, (size, *key))

    def uploads(self, run: Run) -> list[Upload]:
        """The files of a run by name."""
        rows = self.database.execute(
            "select name, size, updated from upload where entity=? and project=? and run=?"
            " order by name",
            (run.entity, run.project, run.id),
        )
        return [Upload(*row) for row in rows]

    def artifact(self, artifact_id: str) -> Artifact | None:
        """The artifact version, if there is one."""
        return self._one(Artifact, "id=?", artifact_id)

    def has_artifact_folder(self, folder: str) -> bool:
        """Is it the folder of an artifact version (`artifact_folder`)?"""
        sql = "select 1 from artifact where replace(replace(id, '=', ''), '/', '_')=? limit 1"
        return bool(self.database.execute(sql, (folder,)))

    def artifacts(self, entity: str, project: str, collection: str) -> list[Artifact]:
        """The versions of an artifact, oldest first."""
        where = "entity=? and project=? and collection=? order by version"
        return self._all(Artifact, where, entity, project, collection)

    def artifacts_of_project(self, entity: str, project: str) -> list[Artifact]:
        """All versions of all artifacts of a W&B project, oldest first."""
        return self._all(Artifact, f"entity=? and project=? {IN_ORDER}", entity, project)

    def artifacts_of_run(self, run: Run) -> list[Artifact]:
        """The versions that a run has made, oldest first."""
        where = f"entity=? and project=? and run=? {IN_ORDER}"
        return self._all(Artifact, where, run.entity, run.project, run.id)

    def put_output(self, artifact: Artifact, run_id: str) -> None:
        """Note that a run of the artifact's project logged this version, made by it or not."""
        with self.transaction():
            self.database.execute(
                "insert or ignore into output values(?,?,?,?)",
                (artifact.id, artifact.entity, artifact.project, run_id),
            )

    def outputs(self, run: Run) -> list[Artifact]:
        """The artifact versions that a run logged, oldest first."""
        where = (
            "entity=? and project=? and (run=? or id in"
            " (select artifact from output where entity=? and project=? and run=?))"
            " order by created, rowid"
        )
        names = run.entity, run.project, run.id
        return self._all(Artifact, where, *names, *names)

    def folder(self, entity: str, project: str, run_id: str) -> Path:
        """Where the files of a run lie."""
        return self.root.joinpath("runs", *map(safe_name, (entity, project, run_id)))

    def _put_run(self, run: Run) -> None:
        key = run.entity, run.project, run.id
        before = self.run(*key)
        if before is None:
            values = [getattr(run, name) for name in NAMES[Run]]
            self.database.execute(INSERT_RUN, values)
        else:
            old, new = vars(before), vars(run)
            names = [name for name in NAMES[Run] if new[name] != old[name]]
            if names:
                changes = ",".join(f"{name}=?" for name in names)
                sql = f"update run set {changes} where entity=? and project=? and id=?"  # noqa: S608 - ours
                self.database.execute(sql, [*(new[name] for name in names), *key])
        self._read_before()[key] = run

    def _read_before(self) -> dict[Key, Run]:
        """The runs that were read in this transaction, as they are in it."""
        if self._generation != self.database.generation:
            self._runs, self._sweeps, self._generation = {}, {}, self.database.generation
        return self._runs

    def _one(self, kind: type[Record], where: str, *values: Value) -> Record | None:
        found = self._all(kind, f"{where} limit 1", *values)
        return found[0] if found else None

    def _all(self, kind: type[Record], where: str, *values: Value) -> list[Record]:
        rows = self.database.execute(f"{SELECT[kind]}{where}", values)
        return [restore(kind, row) for row in rows]
