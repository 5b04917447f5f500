"""Who asks, and what of it is theirs: the administrator, a reader, or who works for one sweep."""

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

from runner.errors import RunnerError
from runner.server.limits import KEY_BURST, KEY_BYTES, KEY_RATE
from runner.server.records import Artifact, Run, Sweep
from runner.server.store import Store
from runner.server.tokens import Tokens, given_key
from runner.server.wire import Refused

KeyKind = Literal["admin", "read", "sweep"]
KINDS: tuple[KeyKind, ...] = ("read", "sweep")  # of keys that are made
RANDOM_BYTES = 20  # 40 letters and digits: what W&B's client takes for a key


@dataclass(frozen=True, slots=True)
class Access:
    """What a key opens."""

    kind: KeyKind
    id: str = ""
    sweep: tuple[str, str, str] | None = None  # entity, project, ID: the only one that it sees

    @property
    def where(self) -> dict[str, str]:
        """The runs that it sees, as a condition."""
        if self.sweep is None:
            return {}
        return dict(zip(("entity", "project", "sweep"), self.sweep, strict=True))

    def sees_project(self, entity: str, project: str) -> bool:
        """May it look at a project, and what of it is its own?"""
        return self.sweep is None or self.sweep[:2] == (entity, project)

    def sees(self, one: Run | Sweep) -> bool:
        """May it look at a run or a sweep?"""
        if self.sweep is None:
            return True
        name = one.id if isinstance(one, Sweep) else one.sweep
        return self.sweep == (one.entity, one.project, name)

    def sees_artifact(self, store: Store, one: Artifact) -> bool:
        """May it look at a version: has a run that it sees made or logged it?"""
        if self.sweep is None:
            return True
        of_runs = "select run from output where artifact=? and entity=? and project=?"
        sql = (
            "select 1 from run where entity=? and project=? and sweep=?"  # noqa: S608 - ours
            f" and (id=? or id in ({of_runs})) limit 1"
        )
        where = one.entity, one.project
        values = (*where, self.sweep[2], one.run, one.id, *where)
        return self.sweep[:2] == where and bool(store.database.execute(sql, values))

    def check_admin(self) -> None:
        """Refuse with 403 whoever is not the administrator."""
        if self.kind != "admin":
            raise Refused(403, "this needs the server's own key")

    def check_change(self) -> None:
        """Refuse with 403 who may only look."""
        if self.kind == "read":
            raise Refused(403, "this key may only read")

    def check_run(self, run: Run | None, *, sweep: str | None = None) -> None:
        """Refuse with 403 a change of a run that is not, or does not become, its sweep's."""
        self.check_change()
        if self.sweep is None:
            return
        joins = sweep is not None and sweep == self.sweep[2]
        if not (self.sees(run) if run is not None else joins) or (sweep is not None and not joins):
            raise Refused(403, "this key is for the runs of another sweep")

    def check_sweep(self, sweep: Sweep) -> None:
        """Refuse with 403 who does not work for this sweep."""
        self.check_change()
        if not self.sees(sweep):
            raise Refused(403, "this key is for another sweep")


ADMIN = Access("admin")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is listed; what it is itself is shown once."""

    id: str
    name: str
    kind: KeyKind
    sweep: str | None  # its path
    created: float
    revoked: float | None


@dataclass(slots=True)
class Keys:
    """The administrator's key, and those that were made with it."""

    store: Store
    tokens: Tokens
    clock: Callable[[], float] = time.time

    def find(self, authorization: str | None) -> Access | None:
        """What the key of an `Authorization` header opens; None: nothing."""
        if self.tokens.admits(authorization):
            return ADMIN
        key = given_key(authorization)
        if key is None:
            return None
        sql = "select kind, id, entity, project, sweep from key where hash=? and revoked is null"
        rows = self.store.database.execute(sql, (_hash(key),))
        if not rows:
            return None
        kind, name, *sweep = rows[0]
        return Access(kind, name, None if sweep[0] is None else (sweep[0], sweep[1], sweep[2]))

    def create(self, name: str, kind: str, sweep: Sweep | None) -> tuple[str, str]:
        """ID and text of a new key; in a transaction."""
        if kind not in KINDS or (kind == "sweep") != (sweep is not None):
            raise Refused(400, "a key is `read`, or for one `sweep`, which must exist")
        key, key_id = secrets.token_hex(RANDOM_BYTES), secrets.token_hex(4)
        place = (sweep.entity, sweep.project, sweep.id) if sweep else (None, None, None)
        values = (key_id, _hash(key.encode()), name, kind, *place, self.clock())
        sql = (
            "insert into key(id, hash, name, kind, entity, project, sweep, created)"
            " values(?,?,?,?,?,?,?,?)"
        )
        self.store.database.execute(sql, values)
        return key_id, key

    def revoke(self, key_id: str) -> None:
        """End a key; again changes nothing. In a transaction."""
        if not self.store.database.execute("select 1 from key where id=?", (key_id,)):
            raise Refused(404, f"there is no key {key_id}")
        sql = "update key set revoked=? where id=? and revoked is null"
        self.store.database.execute(sql, (self.clock(), key_id))

    def list(self) -> "list[KeyInfo]":
        """All that were made, oldest first."""
        rows = self.store.database.execute(
            "select id, name, kind, entity, project, sweep, created, revoked from key"
            " order by created, rowid"
        )
        return [
            KeyInfo(one, name, kind, None if sweep[0] is None else "/".join(sweep), made, revoked)
            for one, name, kind, *sweep, made, revoked in rows
        ]


@dataclass(slots=True)
class Meter:
    """How often each key asks, and how much it has under way; not the administrator's."""

    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)  # requests, as of when
    _bytes: dict[str, int] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def take(self, access: Access, size: int) -> float:
        """Begin a request of so many bytes; seconds to wait before it may, or 0."""
        if access.kind == "admin":
            return 0.0
        with self._guard:
            now = self.clock()
            left, then = self._left.get(access.id, (float(KEY_BURST), now))
            left = min(float(KEY_BURST), left + (now - then) * KEY_RATE)
            held = self._bytes.get(access.id, 0)
            if left < 1:
                self._left[access.id] = left, now
                return (1 - left) / KEY_RATE
            if held and held + size > KEY_BYTES:
                return 1.0
            self._left[access.id] = left - 1, now
            self._bytes[access.id] = held + size
            return 0.0

    def give_back(self, access: Access, size: int) -> None:
        """The request is answered."""
        if access.kind != "admin":
            with self._guard:
                self._bytes[access.id] = max(0, self._bytes.get(access.id, 0) - size)


def url_secret(store: Store, first: bytes) -> bytes:
    """What URLs are signed with: `first`, once and for all.

    Raises:
        RunnerError: the disk does not take it.
    """
    try:
        with store.transaction():
            store.database.execute("insert or ignore into secret values('urls', ?)", (first,))
            found = store.database.execute("select value from secret where name='urls'")
    except sqlite3.Error as error:
        raise RunnerError(
            f"the database in {store.root} cannot be written: {error}",
            hint="is the folder writable, and is there room on its disk?",
        ) from error
    return cast(bytes, found[0][0])


def _hash(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()
