"""A run's stream: history, summary, system events and console output, and how it ends."""

import json
import logging
import math
from dataclasses import replace
from typing import Any

from runner.server.curves import Curve, step_of
from runner.server.ends import hear_stream
from runner.server.records import Run
from runner.server.service import EVENTS, HISTORY, OUTPUT, Service
from runner.server.wire import Refused, dumps, json_object, loads, number, pick
from runner.sweepfile import Sweep as Spec

log = logging.getLogger(__name__)
Chunk = tuple[int, list[str]]  # offset of the first line, lines


def receive(
    service: Service, entity: str, project: str, run_id: str, body: dict[str, Any]
) -> dict[str, Any]:
    """Take in one POST of a run's stream; the answer tells the run whether to stop."""
    store = service.store
    with store.transaction():
        run = store.run(entity, project, run_id)
        if run is None:
            raise Refused(404, f"run {entity}/{project}/{run_id} not found")
        run = _take_files(service, _awake(run, service.clock()), body.get("files"))
        run = hear_stream(
            run,
            preempting=bool(body.get("preempting")),
            exit_code=_exit_code(body.get("exitcode")) if body.get("complete") else None,
            now=service.clock(),
        )
        store.put(run)
    if service.stop_early(run):
        run = store.run(entity, project, run_id) or run
    return {"exitcode": run.exit_code, "stopped": run.stop is not None, "limits": {}}


def rewind(service: Service, run: Run, step: float) -> Run:
    """The run without its rows after `step`; to be called in a transaction that stores it."""
    kept: list[str] = []
    for line in service.history(run):
        at = number(loads(line).get("_step"))
        if at is not None and at > step:
            break
        kept.append(line)
    size = sum(len(line.encode()) + 1 for line in kept)
    spec = service.spec_of(run)
    curve = service.curves.read(spec.metric if spec else None, kept, size)

    def remember() -> None:
        service.curves.keep(run.path, curve)
        service.judged.pop(run.path, None)

    service.store.after_commit(remember)
    return score(replace(run, history_rows=len(kept), history_bytes=size), spec, curve)


def score(run: Run, spec: Spec | None, curve: Curve) -> Run:
    """The run with best and last of its sweep's metric, or its summary's where it logs none."""
    if spec is None or spec.metric is None:
        return run
    values = [one for one in curve.values if math.isfinite(one)]
    summary = number(pick(json.loads(run.summary), spec.metric))
    if not values and summary is not None and math.isfinite(summary):
        values = [summary]
    if not values:
        return replace(run, best=None, last=None)
    best = max(values) if spec.goal == "maximize" else min(values)
    return replace(run, best=best, last=values[-1])


def _awake(run: Run, now: float) -> Run:
    """A stream that speaks is alive, unless it is that of the attempt before."""
    run = replace(run, heartbeat=now)
    if run.state == "crashed" or (run.state == "pending" and run.attempts == 1):
        run = replace(run, state="running", ended=None, started=run.started or now)
    return run


def _take_files(service: Service, run: Run, files: object) -> Run:
    if files is None:
        return run
    if not isinstance(files, dict):
        raise Refused(400, "`files` must be an object")
    spec = service.spec_of(run)
    curve = service.curve(run, spec.metric if spec else None)
    for name, value in files.items():
        offset, lines = _chunk(name, value)
        if not lines:
            continue
        match name:
            case "wandb-summary.json":
                summary = json_object(lines[-1], name=name)
                run = replace(run, summary=dumps(summary))
            case "wandb-history.jsonl":
                run, curve = _take_history(service, run, curve, (offset, lines))
            case "wandb-events.jsonl":
                run = _take_events(service, run, (offset, lines))
            case "output.log":
                run = _take_output(service, run, (offset, lines))
            case _:
                log.warning("run %s streams an unknown file", run.path)
    return score(run, spec, curve)


def _chunk(name: str, value: object) -> Chunk:
    if not isinstance(value, dict):
        raise Refused(400, f"`files.{name}` must be an object")
    offset, lines = value.get("offset", 0), value.get("content") or []
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < 1 << 53:
        raise Refused(400, f"`files.{name}.offset` must be a whole number")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Refused(400, f"`files.{name}.content` must be a list of strings")
    return offset, lines


def _take_history(service: Service, run: Run, known: Curve, chunk: Chunk) -> tuple[Run, Curve]:
    """Rows whose step is new; of rows without a step, those at an offset that is new."""
    curve, fresh = known.copy(), []
    for at, line in enumerate(chunk[1], chunk[0]):
        row = _row(line)
        if row is None:
            log.warning("run %s: a history row is not a JSON object, left out", run.path)
        elif (step_of(row) is not None or at >= run.history_rows) and curve.add(row):
            fresh.append(dumps(row) if "N" in line or "I" in line or "\n" in line else line)
    if not fresh:
        return run, known
    curve.size = service.append(run, HISTORY, run.history_bytes, fresh)
    service.store.after_commit(lambda: service.curves.keep(run.path, curve))
    rows = run.history_rows + len(fresh)
    return replace(run, history_rows=rows, history_bytes=curve.size), curve


def _take_events(service: Service, run: Run, chunk: Chunk) -> Run:
    """Lines at an offset that is new; one that is not a JSON object counts and is left out."""
    new = chunk[1][max(0, run.events_rows - chunk[0]) :]
    if not new:
        return run
    size, fresh = run.events_bytes, [dumps(row) for row in map(_row, new) if row is not None]
    if fresh:
        size = service.append(run, EVENTS, size, fresh)
    rows = chunk[0] + len(chunk[1])
    return replace(run, events_rows=rows, events_bytes=size)


def _take_output(service: Service, run: Run, chunk: Chunk) -> Run:
    """Console lines; a terminal may write an earlier line again."""
    lines = [json.dumps([at, line]) for at, line in enumerate(chunk[1], chunk[0])]
    size = service.append(run, OUTPUT, run.output_bytes, lines)
    rows = max(run.output_rows, chunk[0] + len(lines))
    return replace(run, output_rows=rows, output_bytes=size)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _exit_code(value: object) -> int:
    return value if isinstance(value, int) else 0
