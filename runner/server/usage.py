"""What runs, sweeps and W&B projects hold: rows in the database, files, artifacts."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from runner.server.filenodes import artifact_folder
from runner.server.store import Store

RunKey = tuple[str, str, str]  # entity, project, ID
MEDIA = "media/"  # below it W&B's client keeps images, audio and tables of a run
MEDIA_TYPES = ("run_table",)  # of artifacts: what it makes of logged tables
_SIZES = (  # bytes in the database by run
    ("chunk", "length(data)+coalesce(length(steps), 0)"),
    ("points", "length(key)+coalesce(length(places), 0)+coalesce(length(numbers), 0)"),
    ("series", "length(key)+length(counts)+length(last)"),
)
_BY_RUN = "group by entity, project, run"
_RUNS = """select entity, project, id, sweep, history_rows,
    length(config)+length(summary)+coalesce(length(suggested), 0)
    from run order by created, rowid"""
_UPLOADS = "select entity, project, run, count(*), sum(size), sum(size*(name glob ?)) from upload"


@dataclass(slots=True)
class Held:
    """What something holds."""

    runs: int = 0
    rows: int = 0  # of histories
    database_bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    artifacts: int = 0  # versions
    artifact_bytes: int = 0
    media_bytes: int = 0  # of files and artifacts: those that `prune --media-only` removes

    @property
    def bytes(self) -> int:
        """All together."""
        return self.database_bytes + self.file_bytes + self.artifact_bytes

    def add(self, other: "Held") -> None:
        """Both together."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def node(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server holds, by run; `loose`: what no run holds, by W&B project."""

    runs: dict[RunKey, Held] = field(default_factory=dict)
    sweeps: dict[RunKey, str | None] = field(default_factory=dict)  # of each run
    loose: dict[tuple[str, str], Held] = field(default_factory=dict)

    def total(self, runs: Iterable[RunKey]) -> Held:
        """What some runs hold together."""
        held = Held()
        for key in runs:
            held.add(self.runs.get(key, Held()))
        return held


def measure(store: Store) -> Usage:
    """What everything holds at one moment; looks at every chunk's head, and at every artifact."""
    usage = Usage()
    database = store.database
    with database.snapshot():
        for *key, sweep, rows, size in database.iterate(_RUNS):
            name = _key(key)
            usage.runs[name] = Held(runs=1, rows=rows, database_bytes=size)
            usage.sweeps[name] = sweep
        for table, length in _SIZES:
            sql = f"select entity, project, run, sum({length}) from {table} {_BY_RUN}"  # noqa: S608 - ours
            for *key, size in database.iterate(sql):
                _held(usage, key).database_bytes += size or 0
        for *key, count, size, media in database.iterate(f"{_UPLOADS} {_BY_RUN}", (f"{MEDIA}*",)):
            held = _held(usage, key)
            held.files, held.file_bytes = count, size
            held.media_bytes += media
        artifacts = [one for place in store.projects() for one in _artifacts(store, place)]
    for where, is_media, folder in artifacts:
        held, size = _held(usage, where), folder_size(store.root / "artifacts" / folder)
        held.artifacts += 1
        held.artifact_bytes += size
        held.media_bytes += size if is_media else 0
    return usage


def find_media(store: Store) -> set[RunKey]:
    """The runs that hold media."""
    marks = ",".join("?" * len(MEDIA_TYPES))
    files = "select entity, project, run from upload where name glob ?"
    made = "select entity, project, run from artifact where run is not null and type in"
    values = (f"{MEDIA}*", *MEDIA_TYPES)
    found = store.database.execute(f"{files} union {made} ({marks})", values)
    return {_key([*row]) for row in found}


def report(store: Store, usage: Usage, *, floor: int, with_runs: bool) -> dict[str, object]:
    """All of it for JSON: disk, database, W&B projects with their sweeps, and perhaps each run."""
    projects: dict[tuple[str, str], Held] = {
        (one.entity, one.name): Held() for one in store.projects()
    }
    sweeps = {(one.entity, one.project, one.id): Held() for one in store.sweeps()}
    for (entity, project, name), held in usage.runs.items():
        projects.setdefault((entity, project), Held()).add(held)
        sweep = usage.sweeps.get((entity, project, name))
        if sweep is not None:
            sweeps.setdefault((entity, project, sweep), Held()).add(held)
    for place, held in usage.loose.items():
        projects.setdefault(place, Held()).add(held)
    shown: dict[str, object] = {
        "disk": _disk(store.root, floor),
        "database": _database(store),
        "projects": [{"project": "/".join(key), **held.node()} for key, held in projects.items()],
        "sweeps": [{"sweep": "/".join(key), **held.node()} for key, held in sweeps.items()],
    }
    if with_runs:
        shown["runs"] = [
            {"run": "/".join(key), "sweep": usage.sweeps.get(key), **held.node()}
            for key, held in usage.runs.items()
        ]
    return shown


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder; 0 where there is none."""
    size = 0
    for place, _, names in os.walk(folder):  # one that is being removed is no error
        for name in names:
            with suppress(OSError):
                size += Path(place, name).lstat().st_size
    return size


def _disk(root: Path, floor: int) -> dict[str, int]:
    found = shutil.disk_usage(root)
    return {"total_bytes": found.total, "free_bytes": found.free, "floor_bytes": floor}


def _database(store: Store) -> dict[str, int]:
    """Its file, and what of it is free for further rows."""
    [(page,)], [(count,)], [(free,)] = (
        store.database.execute(f"pragma {name}")
        for name in ("page_size", "page_count", "freelist_count")
    )
    return {"bytes": page * count, "free_bytes": page * free}


def _artifacts(store: Store, place: Any) -> Iterator[tuple[list[str | None], bool, str]]:
    for one in store.artifacts_of_project(place.entity, place.name):
        where = [place.entity, place.name, one.run]
        yield where, one.type in MEDIA_TYPES, artifact_folder(one)


def _held(usage: Usage, key: list[Any]) -> Held:
    """Where it is added: to a run, or to the project where there is no such run."""
    name = _key(key)
    found = usage.runs.get(name)
    return found if found is not None else usage.loose.setdefault(name[:2], Held())


def _key(key: list[Any]) -> RunKey:
    entity, project, name = key
    return entity, project, name or ""
