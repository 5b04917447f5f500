"""The one door to what the server keeps: SQLite behind one writer, and the files beside it."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from runner.server import schema
from runner.server.disk import Disk
from runner.server.logs import safe_name
from runner.server.records import LIVE, Agent, Artifact, Project, Run, Sweep, Upload

Record = TypeVar("Record", Project, Sweep, Agent, Run, Artifact)
Value = str | float | int | None
NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(one.name for one in fields(kind)) for kind in (Project, Sweep, Agent, Run, Artifact)
}


class Store:
    """State in `DIR/server.db`, the runs' histories and files below `DIR/runs`.

    Every method may be called from any thread. What is read and written inside of `transaction`
    is one unit: no other thread comes between, and a kill leaves all of it or nothing.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.disk = root, Disk(root)
        self._lock = threading.RLock()
        self._begun = False
        self._committed: list[Callable[[], None]] = []
        self._database = schema.connect(root / "server.db")

    def close(self) -> None:
        """Let go of the database; its write-ahead log is folded in."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, then the outermost decides.

        Raises:
            sqlite3.OperationalError: the disk does not take it, at the latest when it is committed;
                nothing has changed then, and the next transaction begins anew.
        """
        with self._lock:
            if self._begun:
                yield
                return
            self._run("begin immediate")
            self._begun = True
            try:
                yield
                self._database.execute("commit")
                committed = self._committed
            except BaseException:
                if self._database.in_transaction:  # SQLite has undone some failures itself
                    self._database.execute("rollback")
                raise
            finally:
                self._begun, self._committed = False, []
            for tell in committed:
                tell()

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the present transaction is on the disk; never, if it is undone.

        What is remembered outside of the database is changed here and nowhere else.
        """
        with self.transaction():
            self._committed.append(tell)

    def put(self, record: Project | Sweep | Agent | Run | Artifact) -> None:
        """Write a record over the one with the same key."""
        names = NAMES[type(record)]
        with self.transaction():
            self._run(_PUT[type(record)], [getattr(record, name) for name in names])

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
        return self._one(Sweep, "entity=? and project=? and id=?", entity, project, sweep_id)

    def sweeps(self, entity: str | None = None, project: str | None = None) -> list[Sweep]:
        """All sweeps (of a project), oldest first."""
        if entity is None or project is None:
            return self._all(Sweep, "1 order by created, rowid")
        return self._all(Sweep, "entity=? and project=? order by created, rowid", entity, project)

    def agent(self, agent_id: str) -> Agent | None:
        """The agent, if there is one."""
        return self._one(Agent, "id=?", agent_id)

    def agents(self, sweep: Sweep) -> list[Agent]:
        """All agents that ever registered for a sweep, oldest first."""
        where = "entity=? and project=? and sweep=? order by created, rowid"
        return self._all(Agent, where, sweep.entity, sweep.project, sweep.id)

    def run(self, entity: str, project: str, run_id: str) -> Run | None:
        """The run, if there is one."""
        return self._one(Run, "entity=? and project=? and id=?", entity, project, run_id)

    def runs(self, entity: str, project: str) -> list[Run]:
        """All runs of a project, oldest first."""
        return self._all(Run, "entity=? and project=? order by created, rowid", entity, project)

    def runs_of_sweep(self, sweep: Sweep) -> list[Run]:
        """All runs of a sweep, oldest first."""
        where = "entity=? and project=? and sweep=? order by created, rowid"
        return self._all(Run, where, sweep.entity, sweep.project, sweep.id)

    def runs_of_agent(self, agent_id: str) -> list[Run]:
        """All runs that an agent holds or held last, oldest first."""
        return self._all(Run, "agent=? order by created, rowid", agent_id)

    def live_runs(self) -> list[Run]:
        """All runs that have not ended."""
        return self._all(Run, f"state in ({','.join('?' * len(LIVE))})", *LIVE)

    def count_runs(self, sweep: Sweep) -> int:
        """How many runs a sweep has, whatever became of them."""
        rows = self._run(
            "select count(*) from run where entity=? and project=? and sweep=?",
            (sweep.entity, sweep.project, sweep.id),
        )
        return int(rows[0][0])

    def put_upload(self, entity: str, project: str, run: str, upload: Upload) -> None:
        """Note that a run's file is here."""
        with self.transaction():
            self._run(
                "insert or replace into upload values(?,?,?,?,?,?)",
                (entity, project, run, upload.name, upload.size, upload.updated),
            )

    def uploads(self, run: Run) -> list[Upload]:
        """The files of a run by name."""
        rows = self._run(
            "select name, size, updated from upload where entity=? and project=? and run=?"
            " order by name",
            (run.entity, run.project, run.id),
        )
        return [Upload(*row) for row in rows]

    def artifact(self, artifact_id: str) -> Artifact | None:
        """The artifact version, if there is one."""
        return self._one(Artifact, "id=?", artifact_id)

    def artifacts(self, entity: str, project: str, collection: str) -> list[Artifact]:
        """The versions of an artifact, oldest first."""
        where = "entity=? and project=? and collection=? order by version"
        return self._all(Artifact, where, entity, project, collection)

    def put_output(self, artifact: Artifact, run_id: str) -> None:
        """Note that a run of the artifact's project logged this version, made by it or not."""
        with self.transaction():
            self._run(
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

    def _one(self, kind: type[Record], where: str, *values: Value) -> Record | None:
        found = self._all(kind, f"{where} limit 1", *values)
        return found[0] if found else None

    def _all(self, kind: type[Record], where: str, *values: Value) -> list[Record]:
        names = ",".join(NAMES[kind])
        sql = f"select {names} from {_table(kind)} where {where}"  # noqa: S608 - no foreign text
        rows = self._run(sql, values)
        return [kind(*row) for row in rows]

    def _run(self, sql: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        with self._lock:
            if not self._begun and self._database.in_transaction:  # a rollback has failed
                self._database.execute("rollback")
            return self._database.execute(sql, values).fetchall()


def _table(kind: type) -> str:
    return kind.__name__.lower()


def _put_sql(kind: type, keys: Sequence[str]) -> str:
    """Keeps the row's place in the table, which tells what came first."""
    names = NAMES[kind]
    marks, changes = ",".join("?" * len(names)), ",".join(f"{one}=excluded.{one}" for one in names)
    return (
        f"insert into {_table(kind)}({','.join(names)}) values({marks})"
        f" on conflict({','.join(keys)}) do update set {changes}"
    )


_PUT = {
    Project: _put_sql(Project, ("entity", "name")),
    Sweep: _put_sql(Sweep, ("entity", "project", "id")),
    Agent: _put_sql(Agent, ("id",)),
    Run: _put_sql(Run, ("entity", "project", "id")),
    Artifact: _put_sql(Artifact, ("id",)),
}
