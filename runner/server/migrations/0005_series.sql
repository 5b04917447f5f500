-- A series per key: of what is `packed`, `points` has where a key occurs in a chunk and its numbers,
-- `series` what it adds up to. `run.sealed` counts the history's rows that are in them; chunks behind
-- are small and are looked through. `packed`: 0 plain lines, 1 compressed with its points, 2
-- compressed without, since it has too many keys.
alter table chunk add column packed integer not null default 0;
alter table run add column sealed integer not null default 0;
create table series(
    entity text not null, project text not null, run text not null, key blob not null,
    counts text not null, last text not null,
    primary key(entity, project, run, key)) without rowid;
create table points(
    entity text not null, project text not null, run text not null, key blob not null,
    first integer not null, places blob, numbers blob,
    primary key(entity, project, run, key, first)) without rowid;
