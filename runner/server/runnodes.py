"""Fields of a run's GraphQL node: what it logged, and our own account of it."""

import json
from typing import Any

from runner.server.budget import Budget
from runner.server.ends import MAX_LINES, read_report
from runner.server.filters import connection
from runner.server.history import History
from runner.server.lines import FIRST, LAST, StreamKind
from runner.server.records import Run
from runner.server.rows import Rows
from runner.server.service import Service
from runner.server.wire import Args, Node, dumps, texts, whole

READ_ROW = 8  # bytes of a curve
LAST_BYTES = 1 << 18  # of the console in which the last lines of a failed run are looked for
MAX_LINE = 4096  # characters of one of them


def logged_fields(service: Service, budget: Budget, run: Run) -> dict[str, Any]:
    """Rows, curves and lines that the run has logged."""
    history = History(service.store, run, budget)

    def wandb_config(args: Args) -> str:
        inner = json.loads(run.config).get("_wandb")
        values = inner.get("value") if isinstance(inner, dict) else None
        keys = texts(args, "keys")
        found = values if isinstance(values, dict) else {}
        return dumps({key: one for key, one in found.items() if not keys or key in keys})

    def log_lines(args: Args) -> Node:
        _spend(service, budget, run, "output")
        lines = list(enumerate(service.output(run)))
        return connection(lines, args, lambda one: {"number": one[0], "line": one[1]})

    def events(args: Args) -> list[str]:
        rows = Rows(service.store, run, budget, "events")
        everything = [(chunk, range(chunk.count)) for chunk in rows.index()]
        return rows.lines(rows.spread(everything, whole(args, "samples")))

    return {
        "historyLineCount": run.history_rows,
        "eventsLineCount": run.events_rows,
        "logLineCount": run.output_rows,
        "historyTail": lambda _: dumps(history.tail()),
        "eventsTail": lambda _: dumps(_listed(service.store.lines.read_last(run, "events"))),
        "historyKeys": lambda _: history.keys(),
        "history": history.page,
        "sampledHistory": history.sampled,
        "events": events,
        "parquetHistory": lambda args: {
            "parquetUrls": [],
            "liveData": history.parquet_rows(args),
        },
        "series": lambda args: _series(service, budget, run, args),
        "wandbConfig": wandb_config,
        "logLines": log_lines,
    }


def account_fields(service: Service, budget: Budget, run: Run) -> dict[str, Any]:
    """Our own account of the run, which W&B's servers do not give."""

    report = read_report(run)

    def agent_name(_: Args) -> str | None:
        agent = service.store.agent(run.agent) if run.agent else None
        return (agent.host or agent.id) if agent else None

    return {
        "attempts": run.attempts,
        "failure": lambda _: _failure(service, budget, run),
        "hostPeakBytes": report and report.host_peak_bytes,
        "gpuPeakBytes": report and report.gpu_peak_bytes,
        "agentName": agent_name,
        "stoppedEarly": run.stop == "early",
        "durationS": duration(service, run),
        "bestMetric": run.best,
        "lastMetric": run.last,
    }


def duration(service: Service, run: Run) -> float | None:
    """How long the last attempt ran, or runs by now."""
    if run.started is None:
        return None
    end = run.ended if run.ended is not None else service.clock()
    return round(max(0.0, end - run.started), 3)


def _failure(service: Service, budget: Budget, run: Run) -> str | None:
    """Our agent's account, else what the stream tells, for a run that went wrong."""
    if run.failure is not None or run.state not in ("failed", "crashed"):
        return run.failure
    known = {"class": "crash", "signal": None, "exit_code": run.exit_code}
    return dumps({**known, "lines": _last_lines(service, budget, run), "detail": None})


def _last_lines(service: Service, budget: Budget, run: Run) -> list[str]:
    """Of the console, as they were written last; what is far from its end is not looked at."""
    lines: dict[int, str] = {}
    wanted, left = range(max(0, run.output_rows - MAX_LINES), run.output_rows), LAST_BYTES
    for chunk in service.store.lines.read_back(run, "output"):
        size = sum(map(len, chunk))
        budget.spend(read=size)
        left -= size
        for line in reversed(chunk):
            lines.setdefault(int(line[1 : line.index(",")]), line)  # `[number, "text"]`
        if left < 0 or all(at in lines for at in wanted):
            break
    return [json.loads(lines[at])[1][:MAX_LINE] for at in sorted(lines)[-MAX_LINES:]]


def _series(service: Service, budget: Budget, run: Run, args: Args) -> list[Node]:
    """Ours: curves of keys, thinned out for a picture."""
    from runner.server.curves import DEFAULT_POINTS, MAX_POINTS, read_curve  # loads numpy

    points = min(MAX_POINTS, max(3, whole(args, "points") or DEFAULT_POINTS))
    low, high = whole(args, "minStep"), whole(args, "maxStep")
    nodes: list[Node] = []
    for key in texts(args, "keys"):
        budget.spend(nodes=points, read=READ_ROW * run.history_rows)
        within = FIRST if low is None else low, LAST if high is None else high
        curve = read_curve(service.store, run, key, points=points, within=within)
        nodes.append(curve.node())
    return nodes


def _spend(service: Service, budget: Budget, run: Run, kind: StreamKind) -> None:
    budget.spend(read=service.store.lines.size(run, kind))


def _listed(line: str | None) -> list[str]:
    return [] if line is None else [line]
