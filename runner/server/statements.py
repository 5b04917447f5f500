"""The statements that read and write records."""

from collections.abc import Sequence

from runner.server.records import NAMES, Agent, Artifact, Project, Run, Sweep


def _insert(kind: type) -> str:
    marks = ",".join("?" * len(NAMES[kind]))
    return f"insert into {kind.__name__.lower()}({','.join(NAMES[kind])}) values({marks})"


def _put(kind: type, keys: Sequence[str]) -> str:
    """Keeps the row's place in the table, which tells what came first."""
    changes = ",".join(f"{one}=excluded.{one}" for one in NAMES[kind])
    return f"{_insert(kind)} on conflict({','.join(keys)}) do update set {changes}"


SELECT = {
    kind: f"select {','.join(names)} from {kind.__name__.lower()} where "  # noqa: S608 - ours
    for kind, names in NAMES.items()
}
INSERT_RUN = _insert(Run)
PUT = {
    Project: _put(Project, ("entity", "name")),
    Sweep: _put(Sweep, ("entity", "project", "id")),
    Agent: _put(Agent, ("id",)),
    Artifact: _put(Artifact, ("id",)),
}
