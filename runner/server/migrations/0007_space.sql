-- To remove a run with its artifacts: which versions it made, and whether another run logged them.
create index artifact_run on artifact(entity, project, run);
create index output_artifact on output(artifact);
