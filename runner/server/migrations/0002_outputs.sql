-- Which artifact versions a run logged. Some databases of version 1 have the table already.
create table if not exists output(
    artifact text not null, entity text not null, project text not null, run text not null,
    primary key(entity, project, run, artifact)) without rowid;
