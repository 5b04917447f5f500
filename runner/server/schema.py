"""The tables, their version, and how a database is opened."""

import sqlite3
from pathlib import Path

from runner.errors import RunnerError

VERSION = 1  # PRAGMA user_version
TABLES = """
create table project(
    entity text not null, name text not null, created real not null,
    primary key(entity, name)) without rowid;
create table sweep(
    entity text not null, project text not null, id text not null, config text not null,
    state text not null, name text, prior text not null, description text,
    created real not null, updated real not null,
    primary key(entity, project, id));
create table agent(
    id text primary key, entity text not null, project text not null, sweep text not null,
    host text, ours integer not null, gpu text, created real not null, heartbeat real not null);
create table run(
    entity text not null, project text not null, id text not null, sweep text, agent text,
    state text not null, config text not null, summary text not null, suggested text,
    display text, grp text, job_type text, tags text not null, notes text, host text,
    program text, repo text, git_commit text,
    created real not null, heartbeat real not null, started real, ended real,
    exit_code integer, stop text, stop_at real, failure text, account text,
    attempts integer not null, issued real, seen integer not null, lost integer not null,
    history_rows integer not null, history_bytes integer not null,
    events_rows integer not null, events_bytes integer not null,
    output_rows integer not null, output_bytes integer not null,
    best real, last real,
    primary key(entity, project, id));
create index run_sweep on run(entity, project, sweep);
create index run_agent on run(agent);
create index run_state on run(state);
create table upload(
    entity text not null, project text not null, run text not null, name text not null,
    size integer not null, updated real not null,
    primary key(entity, project, run, name)) without rowid;
create table artifact(
    id text primary key, entity text not null, project text not null, run text,
    type text not null, collection text not null, digest text not null, state text not null,
    version integer not null, metadata text, created real not null);
create index artifact_collection on artifact(entity, project, collection);
"""
LATER = """
create table if not exists output(
    artifact text not null, entity text not null, project text not null, run text not null,
    primary key(entity, project, run, artifact)) without rowid;
"""  # added since; an older version of the server does not mind


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the database; refused where a newer version of the server made it."""
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        database.execute("pragma busy_timeout=5000")
        found = int(database.execute("pragma user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise RunnerError(
            f"the database {path} cannot be opened: {error}",
            hint="is the folder writable, and the file a database of this server?",
        ) from error
    if found > VERSION:
        database.close()
        raise RunnerError(
            f"the database {path} has format {found}; this version knows {VERSION}",
            hint="run the newer version of runner that made it, or choose another --data folder",
        )
    if found < VERSION:
        database.executescript(f"begin; {TABLES} pragma user_version={VERSION}; commit;")
    database.executescript(LATER)
    database.row_factory = sqlite3.Row
    return database
