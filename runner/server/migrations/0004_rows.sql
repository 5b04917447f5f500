-- The lines of a run lie in the database: `chunk`. What follows from all runs of a sweep is kept by
-- the transaction that changes it: how many there are (`sweep.runs`), from where on its grid has
-- free cells (`sweep.cursor`), which are taken (`run.cell`), whether it has a further configuration
-- (`sweep.exhausted`), and the metric at each of hyperband's bands (`band`). `sweep.counted` is 0
-- where an earlier version left the last three, and those of its runs, to be made from the runs.
create table chunk(
    entity text not null, project text not null, run text not null, kind text not null,
    first integer not null, count integer not null, low integer, high integer, steps blob,
    data blob not null,
    primary key(entity, project, run, kind, first)) without rowid;
create table band(
    entity text not null, project text not null, sweep text not null, band integer not null,
    loss real not null, run text not null,
    primary key(entity, project, sweep, band, loss, run)) without rowid;
create index band_run on band(entity, project, run);
-- Logs that an earlier version has left in files: they are moved into `chunk` at the next start.
create table old_log(
    entity text not null, project text not null, run text not null, kind text not null,
    size integer not null, moved integer not null default 0,
    primary key(entity, project, run, kind)) without rowid;
insert into old_log(entity, project, run, kind, size)
    select entity, project, id, 'history', history_bytes from run where history_bytes>0 union all
    select entity, project, id, 'events', events_bytes from run where events_bytes>0 union all
    select entity, project, id, 'output', output_bytes from run where output_bytes>0;
alter table run drop column history_bytes;
alter table run drop column events_bytes;
alter table run drop column output_bytes;
alter table run add column last_step integer;
alter table run add column points integer not null default 0;
alter table run add column cell integer;
alter table sweep add column runs integer not null default 0;
alter table sweep add column cursor integer not null default 0;
alter table sweep add column exhausted integer not null default 0;
alter table sweep add column counted integer not null default 1;
update sweep set counted=0, runs=(select count(*) from run where run.entity=sweep.entity
    and run.project=sweep.project and run.sweep=sweep.id);
drop index run_sweep;
drop index run_agent;
drop index run_state;
create index run_project on run(entity, project, created);
create index run_sweep on run(entity, project, sweep, created);
create index run_state on run(entity, project, sweep, state, ended);
create index run_best on run(entity, project, sweep, best);
create index run_cell on run(entity, project, sweep, cell) where cell is not null;
create index run_agent on run(agent, state);
create index run_live on run(state) where state in ('pending', 'running', 'preempting');
create index agent_sweep on agent(entity, project, sweep, host);
create trigger run_joins after insert on run when new.sweep is not null begin
    update sweep set runs=runs+1
        where entity=new.entity and project=new.project and id=new.sweep;
end;
create trigger run_leaves after delete on run when old.sweep is not null begin
    update sweep set runs=runs-1
        where entity=old.entity and project=old.project and id=old.sweep;
end;
create trigger run_changes_sweep after update of sweep on run when old.sweep is not new.sweep begin
    update sweep set runs=runs-1
        where entity=old.entity and project=old.project and id=old.sweep;
    update sweep set runs=runs+1
        where entity=new.entity and project=new.project and id=new.sweep;
end;
