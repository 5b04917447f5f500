-- What is known of a run's end is kept apart from what follows from it: `stream_code`, the exit code
-- with which its stream ended; `report`, our agent's report of this attempt; `preempting`, its
-- announcement. `report_before` is the report of the attempt before.
alter table run rename column account to report;
alter table run add column stream_code integer;
alter table run add column preempting integer not null default 0;
alter table run add column report_before text;
update run set stream_code=exit_code
    where state='finished' or (state in ('failed', 'killed', 'preempted') and report is null);
update run set preempting=1
    where state='preempting' or (state='preempted' and report is null and exit_code<>75);
update run set report_before=report, report=null
    where state in ('pending', 'running', 'preempting');
