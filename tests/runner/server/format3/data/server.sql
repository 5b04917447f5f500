BEGIN TRANSACTION;
CREATE TABLE agent(
    id text primary key, entity text not null, project text not null, sweep text not null,
    host text, ours integer not null, gpu text, created real not null, heartbeat real not null);
INSERT INTO "agent" VALUES('sf4qm7kaa478uox3','local','demo','gidrhuuk','gpu-a',1,'{"uuid":"cpu-0"}',1.79591442551244020466e+09,1.79591442604922103885e+09);
INSERT INTO "agent" VALUES('1hf05ns9c8067s6z','local','demo','gidrhuuk','gpu-b',1,'{"uuid":"cpu-0"}',1.79591442553338766097e+09,1.79591442619245123856e+09);
INSERT INTO "agent" VALUES('cn905v0fvkonp2y3','local','demo','gidrhuuk','gpu-c',1,'{"uuid":"cpu-0"}',1.79591442554587888717e+09,1.79591442607024168965e+09);
CREATE TABLE artifact(
    id text primary key, entity text not null, project text not null, run text,
    type text not null, collection text not null, digest text not null, state text not null,
    version integer not null, metadata text, created real not null);
INSERT INTO "artifact" VALUES('QXJ0aWZhY3Q6bWF6cjVrOGVpNXFsYzEzZQ==','local','demo','gqgn5oen','model','weights','d','COMMITTED',0,NULL,1.79591442573945808411e+09);
CREATE TABLE output(
    artifact text not null, entity text not null, project text not null, run text not null,
    primary key(entity, project, run, artifact)) without rowid;
INSERT INTO "output" VALUES('QXJ0aWZhY3Q6bWF6cjVrOGVpNXFsYzEzZQ==','local','demo','gqgn5oen');
CREATE TABLE project(
    entity text not null, name text not null, created real not null,
    primary key(entity, name)) without rowid;
INSERT INTO "project" VALUES('local','demo',1.79591442543061351774e+09);
CREATE TABLE run(
    entity text not null, project text not null, id text not null, sweep text, agent text,
    state text not null, config text not null, summary text not null, suggested text,
    display text, grp text, job_type text, tags text not null, notes text, host text,
    program text, repo text, git_commit text,
    created real not null, heartbeat real not null, started real, ended real,
    exit_code integer, stop text, stop_at real, failure text, report text,
    attempts integer not null, issued real, seen integer not null, lost integer not null,
    history_rows integer not null, history_bytes integer not null,
    events_rows integer not null, events_bytes integer not null,
    output_rows integer not null, output_bytes integer not null,
    best real, last real, stream_code integer, preempting integer not null default 0, report_before text,
    primary key(entity, project, id));
INSERT INTO "run" VALUES('local','demo','gqgn5oen','gidrhuuk','sf4qm7kaa478uox3','finished','{"lr":{"value":0.1},"n":{"value":1}}','{"_step":5,"loss":0.16666666666666666}','{"lr":0.1,"n":1}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79591442558513879777e+09,1.79591442572394680973e+09,1.79591442560930490495e+09,1.79591442572398924826e+09,0,NULL,NULL,NULL,'{"run":"gqgn5oen","exit_code":0,"signal":null,"cause":null,"lines":[]}',1,1.79591442558513879777e+09,0,0,6,188,6,102,6,84,1.66666666666666657414e-01,1.66666666666666657414e-01,0,0,NULL);
INSERT INTO "run" VALUES('local','demo','rl959glc','gidrhuuk','sf4qm7kaa478uox3','failed','{"lr":{"value":0.1},"n":{"value":2}}','{"_step":5,"loss":0.16666666666666666}','{"lr":0.1,"n":2}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.7959144257617619038e+09,1.79591442582125067708e+09,1.79591442576530361174e+09,1.79591442582128620148e+09,1,NULL,NULL,'{"class":"crash","signal":null,"exit_code":1,"lines":["ValueError: no"]}','{"run":"rl959glc","exit_code":1,"signal":null,"cause":"crash","lines":["ValueError: no"]}',1,1.7959144257617619038e+09,0,0,6,188,6,102,6,84,1.66666666666666657414e-01,1.66666666666666657414e-01,1,0,NULL);
INSERT INTO "run" VALUES('local','demo','njp6p5ny','gidrhuuk','sf4qm7kaa478uox3','killed','{"lr":{"value":0.1},"n":{"value":3}}','{"_step":5,"loss":0.16666666666666666}','{"lr":0.1,"n":3}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79591442583257246022e+09,1.79591442590427589421e+09,1795914425.83951,1.79591442590431261058e+09,255,'user',1.79591442589756822584e+09,NULL,'{"run":"njp6p5ny","exit_code":255,"signal":null,"cause":"stopped","lines":[]}',1,1.79591442583257246022e+09,0,0,6,188,6,102,6,84,1.66666666666666657414e-01,1.66666666666666657414e-01,255,0,NULL);
INSERT INTO "run" VALUES('local','demo','lhp7r23l','gidrhuuk','1hf05ns9c8067s6z','preempted','{"lr":{"value":0.1},"n":{"value":4}}','{"_step":2,"loss":0.3333333333333333}','{"lr":0.1,"n":4}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79591442593254613877e+09,1.79591442617659306528e+09,1.79591442609793376919e+09,1.7959144261766488552e+09,75,NULL,NULL,NULL,'{"run":"lhp7r23l","exit_code":75,"signal":null,"cause":"preempted","lines":[]}',1,1.79591442593254613877e+09,0,0,3,93,3,51,3,42,3.33333333333333314829e-01,3.33333333333333314829e-01,75,0,NULL);
INSERT INTO "run" VALUES('local','demo','yefvtymv','gidrhuuk','sf4qm7kaa478uox3','running','{"lr":{"value":0.2},"n":{"value":1}}','{"_step":3,"loss":0.25}','{"lr":0.2,"n":1}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79591442595982837674e+09,1.79591442598941588397e+09,1.79591442597633385658e+09,NULL,NULL,NULL,NULL,NULL,NULL,1,1.79591442595982837674e+09,1,0,4,120,4,68,4,56,0.25,0.25,NULL,0,NULL);
INSERT INTO "run" VALUES('local','demo','50v57wc1','gidrhuuk','cn905v0fvkonp2y3','pending','{"lr":{"value":0.2},"n":{"value":2}}','{}','{"lr":0.2,"n":2}',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,1.79591442608501148225e+09,1.79591442608501148225e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,1.79591442608501148225e+09,0,0,0,0,0,0,0,0,NULL,NULL,NULL,0,NULL);
CREATE TABLE sweep(
    entity text not null, project text not null, id text not null, config text not null,
    state text not null, name text, prior text not null, description text,
    created real not null, updated real not null,
    primary key(entity, project, id));
INSERT INTO "sweep" VALUES('local','demo','gidrhuuk','
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
  n: {values: [1, 2, 3, 4]}
','RUNNING',NULL,'[]',NULL,1.79591442542823195461e+09,1.79591442542823195461e+09);
INSERT INTO "sweep" VALUES('local','demo','8xvcm6ky','{method: random, parameters: {x: {min: 0.0, max: 1.0}}}','PAUSED',NULL,'[]',NULL,1.79591442546434044841e+09,1.79591442548576736451e+09);
CREATE TABLE upload(
    entity text not null, project text not null, run text not null, name text not null,
    size integer not null, updated real not null,
    primary key(entity, project, run, name)) without rowid;
INSERT INTO "upload" VALUES('local','demo','gqgn5oen','config.yaml',8,1.79591442573369932172e+09);
CREATE INDEX run_sweep on run(entity, project, sweep);
CREATE INDEX run_agent on run(agent);
CREATE INDEX run_state on run(state);
CREATE INDEX artifact_collection on artifact(entity, project, collection);
COMMIT;
pragma user_version=3;
