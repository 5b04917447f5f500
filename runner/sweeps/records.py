"""A sweep on its server, and the record of it in this folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from runner.agent.contract.servers import ServerKind, parse_kind
from runner.agent.contract.sweeps import SweepPath
from runner.backend.connection import Connection
from runner.backend.hosts import find_app_url
from runner.backend.nodes import SweepInfo
from runner.disk.own_files import read_json, write_json
from runner.state.folder import State


@dataclass(frozen=True, slots=True)
class SweepHandle:
    """A sweep, its server, and whether this call created it."""

    sweep: SweepInfo
    server: Connection
    created: bool

    @property
    def url(self) -> str:
        """The URL of the sweep's page."""
        path = self.sweep.path
        where = f"{path.entity}/{path.project}/sweeps/{path.id}"
        return f"{find_app_url(self.server.client.url)}/{where}"


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """The record of a sweep that was created or joined in this folder."""

    path: SweepPath
    server: str  # "local", or its URL
    kind: ServerKind | None  # None: an earlier version wrote the record
    url: str  # the page
    digest: str | None  # hash of the file that created it
    config: Mapping[str, Any] | None  # for sync-offline, to create the sweep

    def to_json(self) -> dict[str, object]:
        """The JSON content of its file."""
        return {
            "path": str(self.path),
            "server": self.server,
            "kind": self.kind,
            "url": self.url,
            "hash": self.digest,
            "config": self.config,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """The record in a file's content.

        Raises:
            ValueError: the content is not a record.
        """
        path, server, digest = found.get("path"), found.get("server"), found.get("hash")
        if not isinstance(path, str) or not isinstance(server, str):
            raise ValueError("no path, or no server")  # noqa: TRY004 - damaged, whatever it holds
        kind, config = found.get("kind"), found.get("config")
        return cls(
            SweepPath.parse(path),
            server,
            parse_kind(kind) if isinstance(kind, str) else None,
            str(found.get("url", "")),
            digest if isinstance(digest, str) else None,
            config if isinstance(config, Mapping) else None,
        )


def save_record(state: State, joined: SweepHandle, *, digest: str | None = None) -> None:
    """Write the record of a sweep, which fixes its server."""
    if state.read_only:
        return
    file = state.sweeps / f"{joined.sweep.id}.json"
    old = _read_record(file)
    record = SweepRecord(
        joined.sweep.path,
        joined.server.name,
        joined.server.kind,
        joined.url,
        digest or (old.digest if old else None),
        dict(joined.sweep.config),
    )
    if record != old:  # its time shows which sweep is the newest
        write_json(file, record.to_json())


def load_records(state: State) -> dict[str, SweepRecord]:
    """Sweep ID → its record, oldest first; skips damaged files."""
    files = sorted(state.sweeps.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return {file.stem: record for file in files if (record := _read_record(file))}


def _read_record(file: Path) -> SweepRecord | None:
    try:
        return SweepRecord.from_json(read_json(file) or {})
    except ValueError:
        return None
