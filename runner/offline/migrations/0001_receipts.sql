-- What was sent where. Databases of version 0.1.0 have these tables already, and no number.
create table if not exists receipts (
    target text, path text, logs text not null, state text not null,
    rows integer not null, bytes integer not null, at real not null,
    primary key (target, path)
) strict;
create table if not exists sweeps (
    target text, local text, remote text, primary key (target, local)
) strict;
create table if not exists lacking (
    target text, path text, artifact text, primary key (target, path, artifact)
) strict;
