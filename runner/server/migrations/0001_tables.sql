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
