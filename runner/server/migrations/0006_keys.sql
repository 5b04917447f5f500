-- Keys beside that of the key file, which is the administrator's: only their SHA-256 is kept.
-- `kind`: 'read' looks at everything and changes nothing, 'sweep' works for one sweep.
create table key(
    id text primary key, hash text not null unique, name text not null, kind text not null,
    entity text, project text, sweep text, created real not null, revoked real);
-- What URLs are signed with: it does not change with the key.
create table secret(name text primary key, value blob not null) without rowid;
