BEGIN TRANSACTION;
CREATE TABLE agent(
    id text primary key, entity text not null, project text not null, sweep text not null,
    host text, ours integer not null, gpu text, created real not null, heartbeat real not null);
INSERT INTO "agent" VALUES('qpl5ycmw18tqmry1','local','demo','unr3afvw','gpu-a',1,'{"uuid":"cpu-0"}',1.79587395208673882484e+09,1.79587395220744180674e+09);
INSERT INTO "agent" VALUES('mr53au66az3trut2','local','demo','unr3afvw','gpu-b',1,'{"uuid":"cpu-0"}',1.7958739520902645588e+09,1.79587395224922370911e+09);
INSERT INTO "agent" VALUES('l1x2vzzfvuhrjvoh','local','demo','unr3afvw','gpu-c',1,'{"uuid":"cpu-0"}',1.79587395209331536286e+09,1.79587395221087169645e+09);
CREATE TABLE artifact(
    id text primary key, entity text not null, project text not null, run text,
    type text not null, collection text not null, digest text not null, state text not null,
    version integer not null, metadata text, created real not null);
INSERT INTO "artifact" VALUES('QXJ0aWZhY3Q6cmh1NGttNXRnNWU3NHpkdA==','local','demo','es01x8lh','model','weights','d','COMMITTED',0,NULL,1.79587395213327550885e+09);
CREATE TABLE output(
    artifact text not null, entity text not null, project text not null, run text not null,
    primary key(entity, project, run, artifact)) without rowid;
INSERT INTO "output" VALUES('QXJ0aWZhY3Q6cmh1NGttNXRnNWU3NHpkdA==','local','demo','es01x8lh');
CREATE TABLE project(
    entity text not null, name text not null, created real not null,
    primary key(entity, name)) without rowid;
INSERT INTO "project" VALUES('local','demo',1.79587395206642055512e+09);
CREATE TABLE run(
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
INSERT INTO "run" VALUES('local','demo','es01x8lh','unr3afvw','qpl5ycmw18tqmry1','finished','{"lr":{"value":0.1},"n":{"value":1}}','{"_step":5,"loss":0.16666666666666666}','{"lr":0.1,"n":1}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79587395209929299357e+09,1.79587395211897969246e+09,1.79587395210378408436e+09,1.79587395211903023723e+09,0,NULL,NULL,NULL,'{"run":"es01x8lh","exit_code":0,"signal":null,"cause":null,"lines":[]}',1,1.79587395209929299357e+09,0,0,6,188,6,102,6,84,1.66666666666666657414e-01,1.66666666666666657414e-01);
INSERT INTO "run" VALUES('local','demo','0xqlqsb0','unr3afvw','qpl5ycmw18tqmry1','failed','{"lr":{"value":0.1},"n":{"value":2}}','{"_step":5,"loss":0.16666666666666666}','{"lr":0.1,"n":2}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79587395215279626843e+09,1.79587395216463947293e+09,1.7958739521559612751e+09,1.79587395216470217711e+09,1,NULL,NULL,'{"class":"crash","signal":null,"exit_code":1,"lines":["ValueError: no"]}','{"run":"0xqlqsb0","exit_code":1,"signal":null,"cause":"crash","lines":["ValueError: no"]}',1,1.79587395215279626843e+09,0,0,6,188,6,102,6,84,1.66666666666666657414e-01,1.66666666666666657414e-01);
INSERT INTO "run" VALUES('local','demo','xdgppb95','unr3afvw','qpl5ycmw18tqmry1','killed','{"lr":{"value":0.1},"n":{"value":3}}','{"_step":5,"loss":0.16666666666666666}','{"lr":0.1,"n":3}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.7958739521697854995e+09,1.79587395218494319916e+09,1.79587395217284464836e+09,1.79587395218499231343e+09,255,'user',1.79587395218201231958e+09,NULL,'{"run":"xdgppb95","exit_code":255,"signal":null,"cause":"stopped","lines":[]}',1,1.7958739521697854995e+09,0,0,6,188,6,102,6,84,1.66666666666666657414e-01,1.66666666666666657414e-01);
INSERT INTO "run" VALUES('local','demo','8smdy92g','unr3afvw','mr53au66az3trut2','preempted','{"lr":{"value":0.1},"n":{"value":4}}','{"_step":2,"loss":0.3333333333333333}','{"lr":0.1,"n":4}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79587395218945336345e+09,1.79587395224614048e+09,1.79587395221581935886e+09,1.79587395224619245526e+09,75,NULL,NULL,NULL,'{"run":"8smdy92g","exit_code":75,"signal":null,"cause":"preempted","lines":[]}',1,1.79587395218945336345e+09,0,0,3,93,3,51,3,42,3.33333333333333314829e-01,3.33333333333333314829e-01);
INSERT INTO "run" VALUES('local','demo','rljs99v7','unr3afvw','qpl5ycmw18tqmry1','running','{"lr":{"value":0.2},"n":{"value":1}}','{"_step":3,"loss":0.25}','{"lr":0.2,"n":1}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79587395219511842723e+09,1.79587395220198035245e+09,1.79587395219855022431e+09,NULL,NULL,NULL,NULL,NULL,NULL,1,1.79587395219511842723e+09,1,0,4,120,4,68,4,56,0.25,0.25);
INSERT INTO "run" VALUES('local','demo','xxi82irc','unr3afvw','l1x2vzzfvuhrjvoh','pending','{"lr":{"value":0.2},"n":{"value":2}}','{}','{"lr":0.2,"n":2}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79587395221256017688e+09,1.79587395221256017688e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,1.79587395221256017688e+09,0,0,0,0,0,0,0,0,NULL,NULL);
CREATE TABLE sweep(
    entity text not null, project text not null, id text not null, config text not null,
    state text not null, name text, prior text not null, description text,
    created real not null, updated real not null,
    primary key(entity, project, id));
INSERT INTO "sweep" VALUES('local','demo','unr3afvw','
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
  n: {values: [1, 2, 3, 4]}
','RUNNING',NULL,'[]',NULL,1.79587395206408214571e+09,1.79587395206408214571e+09);
INSERT INTO "sweep" VALUES('local','demo','tx79cku0','{method: random, parameters: {x: {min: 0.0, max: 1.0}}}','PAUSED',NULL,'[]',NULL,1.79587395207349538803e+09,1.795873952082829237e+09);
CREATE TABLE upload(
    entity text not null, project text not null, run text not null, name text not null,
    size integer not null, updated real not null,
    primary key(entity, project, run, name)) without rowid;
INSERT INTO "upload" VALUES('local','demo','es01x8lh','config.yaml',8,1.79587395212608098979e+09);
CREATE INDEX run_sweep on run(entity, project, sweep);
CREATE INDEX run_agent on run(agent);
CREATE INDEX run_state on run(state);
CREATE INDEX artifact_collection on artifact(entity, project, collection);
COMMIT;
pragma user_version=1;
