"""A run's stream: history, summary, system events and console output, and how it ends."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.server.access import ADMIN, Access
from runner.server.ends import hear_stream
from runner.server.logs import warn
from runner.server.records import Run, replace
from runner.server.scores import add_summary, add_values, metric_value, score_anew, stop_hopeless
from runner.server.seal import is_due, unseal
from runner.server.service import Service
from runner.server.wire import Refused, dumps, json_object, loads_shallow, pick, quote_constants
from runner.sweepfile import SweepSpec

log = logging.getLogger(__name__)
LineChunk = tuple[int, list[str]]  # offset of the first line, lines


@dataclass(frozen=True, slots=True)
class Post:
    """One POST of a run's stream."""

    files: dict[str, LineChunk]
    preempting: bool
    exit_code: int | None  # of the stream's end; None: it goes on

    @classmethod
    def read(cls, body: object) -> "Post":
        """The JSON body of the request; refused with 400 where it is none."""
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        files = body.get("files")
        if files is not None and not isinstance(files, dict):
            raise Refused(400, "`files` must be an object")
        chunks = {str(name): _chunk(name, value) for name, value in (files or {}).items()}
        code = _exit_code(body.get("exitcode")) if body.get("complete") else None
        return cls(chunks, bool(body.get("preempting")), code)


def receive(
    service: Service,
    entity: str,
    project: str,
    run_id: str,
    post: Post,
    access: Access = ADMIN,
) -> dict[str, Any]:
    """Take in one POST of a run's stream; the answer tells the run whether to stop."""
    store = service.store
    with store.transaction():
        before = store.run(entity, project, run_id)
        if before is None:
            raise Refused(404, f"run {entity}/{project}/{run_id} not found")
        access.check_run(before)
        sweep = service.sweep_of(before)
        spec = service.spec(sweep) if sweep else None
        run = _take_files(service, _awake(service, before), spec, post.files)
        run = hear_stream(
            run, preempting=post.preempting, exit_code=post.exit_code, now=service.clock()
        )
        store.put(run)
        if run.history_rows != before.history_rows and is_due(store, run):
            service.due[run.path] = run
        if sweep is not None and spec is not None:
            stop_hopeless(service, sweep, spec, before, run)
            run = store.run(entity, project, run_id) or run
    return {"exitcode": run.exit_code, "stopped": run.stop is not None, "limits": {}}


def rewind(service: Service, run: Run, step: float) -> Run:
    """The run without its rows after `step`; to be called in a transaction that stores it."""
    lines = service.store.lines
    kept = lines.first_beyond(run, step)
    if kept is None:
        return run
    lines.cut(run, kept)
    unseal(service.store, run)
    sweep = service.sweep_of(run)
    run = replace(run, history_rows=kept, last_step=lines.last_step(run), sealed=0)
    return score_anew(service, run, service.spec(sweep) if sweep else None)


def step_of(row: dict[str, Any]) -> int | None:
    """The row's `_step`, if it has one of 64 bits."""
    step = row.get("_step")
    if not isinstance(step, int) or isinstance(step, bool):
        return None
    return step if -(1 << 63) < step < 1 << 63 else None


def _awake(service: Service, run: Run) -> Run:
    """A stream that speaks is alive, unless it is that of the attempt before."""
    now = service.clock()
    service.ages.note("heard", run.path)
    run = replace(run, heartbeat=now)
    if run.state == "crashed" or (run.state == "pending" and run.attempts == 1):
        run = replace(run, state="running", ended=None, started=run.started or now)
    return run


def _take_files(
    service: Service, run: Run, spec: SweepSpec | None, files: dict[str, LineChunk]
) -> Run:
    for name, chunk in files.items():
        if not chunk[1]:
            continue
        match name:
            case "wandb-summary.json":
                run = replace(
                    run, summary=dumps(json_object(chunk[1][-1], name=name, any_text=True))
                )
            case "wandb-history.jsonl":
                run = _take_history(service, run, spec, chunk)
            case "wandb-events.jsonl":
                run = _take_events(service, run, chunk)
            case "output.log":
                run = _take_output(service, run, chunk)
            case _:
                warn(log, "a run streams an unknown file", run=run.path)
    return add_summary(run, spec)


def _chunk(name: object, value: object) -> LineChunk:
    if not isinstance(value, dict):
        raise Refused(400, f"`files.{name}` must be an object")
    offset, lines = value.get("offset", 0), value.get("content") or []
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < 1 << 53:
        raise Refused(400, f"`files.{name}.offset` must be a whole number")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Refused(400, f"`files.{name}.content` must be a list of strings")
    return offset, lines


def _take_history(service: Service, run: Run, spec: SweepSpec | None, chunk: LineChunk) -> Run:
    """Rows whose step is new; of rows without a step, those at an offset that is new."""
    metric = spec.metric if spec else None
    rows = [(at, line, _counted(line, metric)) for at, line in enumerate(chunk[1], chunk[0])]
    known = _known_steps(service, run, [step_of(row) for _, _, row in rows if row is not None])
    fresh, steps, values = list[str](), list[int | None](), list[float]()
    for at, line, row in rows:
        if row is None:
            warn(log, "a history row is not a JSON object, left out", run=run.path)
            continue
        step = step_of(row)
        if step in known or (step is None and at < run.history_rows):
            continue
        if step is not None and service.keeps_steps_once:
            known.add(step)
        fresh.append(quote_constants(line).replace("\n", " "))
        steps.append(step)
        value = metric_value(row, metric)
        if value is not None:
            values.append(value)
    if not fresh:
        return run
    service.store.lines.append(run, "history", fresh, steps)
    highest = max((one for one in steps if one is not None), default=None)
    if highest is not None and (run.last_step is None or highest > run.last_step):
        run = replace(run, last_step=highest)
    run = add_values(service, run, spec, values)
    return replace(run, history_rows=run.history_rows + len(fresh))


def _known_steps(service: Service, run: Run, steps: Sequence[int | None]) -> set[int]:
    """Those of these steps, and others, that have a row already."""
    present = [one for one in steps if one is not None]
    if not present or run.last_step is None or not service.keeps_steps_once:
        return set()
    low, high = min(present), min(max(present), run.last_step)
    return service.store.lines.known_steps(run, low, high) if low <= high else set()


def _take_events(service: Service, run: Run, chunk: LineChunk) -> Run:
    """Lines at an offset that is new; one that is not a JSON object counts and is left out."""
    new = chunk[1][max(0, run.events_rows - chunk[0]) :]
    if not new:
        return run
    fresh = [dumps(row) for row in map(_row, new) if row is not None]
    if fresh:
        service.store.lines.append(run, "events", fresh)
    return replace(run, events_rows=chunk[0] + len(chunk[1]))


def _take_output(service: Service, run: Run, chunk: LineChunk) -> Run:
    """Console lines; a terminal may write an earlier line again."""
    lines = [json.dumps([at, line]) for at, line in enumerate(chunk[1], chunk[0])]
    service.store.lines.append(run, "output", lines)
    return replace(run, output_rows=max(run.output_rows, chunk[0] + len(lines)))


def _counted(line: str, metric: str | None) -> dict[str, Any] | None:
    """What counts of a row: all of its values may take ten times the memory of its text."""
    row = _row(line)
    if row is None:
        return None
    counted = {"_step": row.get("_step")}
    return counted if metric is None else counted | {metric: pick(row, metric)}


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = loads_shallow(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _exit_code(value: object) -> int:
    """A process's; of what cannot be one only that it is not 0 counts."""
    if not isinstance(value, int):
        return 0
    return int(value) if abs(value) < 1 << 31 else 1
