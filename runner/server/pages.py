"""What a browser shows: the list of sweeps and a page per sweep. No scripts, all escaped."""

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from runner.run_states import LIVE
from runner.search.best import best_so_far, thin_out
from runner.search.engines import engine_of
from runner.server.access import ADMIN, Access
from runner.server.records import Agent, Run, Sweep
from runner.server.runnodes import duration
from runner.server.service import Service, chosen_config
from runner.server.wire import Refused
from runner.sweepfile.model import Goal

REFRESH_S = 10
SHOWN_RUNS = 500
SHOWN_POINTS = 800


def index(service: Service, access: Access = ADMIN) -> str:
    """All sweeps that a key opens, the newest first."""
    sweeps = [
        {
            "link": sweep_link(one),
            "path": one.path,
            "name": one.name or "",
            "state": one.state.lower(),
            "method": _method(service, one),
            "runs": service.store.sums.count_runs(one),
        }
        for one in reversed(service.store.sweeps())
        if access.sees(one)
    ]
    return _template("index.html").render(title="sweeps", refresh_s=REFRESH_S, sweeps=sweeps)


def sweep(service: Service, sweep: Sweep) -> str:
    """One sweep: how far it is, the best so far, each run, its configuration."""
    store, spec = service.store, service.spec(sweep)
    runs, counts = store.newest_runs(sweep, SHOWN_RUNS), store.sums.count_states(sweep)
    total = sum(counts.values())
    live = sweep.state in ("RUNNING", "PAUSED") or not counts.keys().isdisjoint(LIVE)
    return _template("sweep.html").render(
        title=sweep.name or sweep.id,
        refresh_s=REFRESH_S if live else None,
        path=sweep.path,
        state=sweep.state.lower(),
        method=f"{spec.method} ({engine_of(spec.method).name})",
        goal=spec.goal,
        metric=spec.metric,
        total=total,
        states=", ".join(f"{number} {state}" for state, number in sorted(counts.items())),
        best=_best(store.best_run(sweep, spec.goal)),
        chart=_chart(store.sums.bests(sweep), goal=spec.goal),
        heading="Runs" if total <= SHOWN_RUNS else f"The newest {SHOWN_RUNS} runs",
        runs=_rows(service, runs),
        config=sweep.config,
    )


def sweep_link(sweep: Sweep) -> str:
    """The path of a sweep's page."""
    names = (sweep.entity, sweep.project, sweep.id)
    return "/sweeps/" + "/".join(quote(name, safe="") for name in names)


def run_link(run: Run) -> str:
    """The path of the page that shows a run."""
    if run.sweep is None:
        return "/"
    names = (run.entity, run.project, run.sweep)
    where = "/sweeps/" + "/".join(quote(name, safe="") for name in names)
    return f"{where}#{quote(run.id, safe='')}"


@cache
def _template(name: str) -> Template:
    folder = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=folder,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _method(service: Service, sweep: Sweep) -> str:
    try:
        return service.spec(sweep).method
    except Refused:  # an older version took it
        return "not readable"


def _best(run: Run | None) -> dict[str, str] | None:
    if run is None or run.best is None:
        return None
    return {
        "value": _number(run.best),
        "link": run_link(run),
        "name": run.shown,
        "config": _config(run),
    }


def _rows(service: Service, runs: Sequence[Run]) -> list[dict[str, object]]:
    agents = {one.id: one for one in _agents(service, runs)}
    rows = []
    for run in runs:
        agent, ran_s = agents.get(run.agent or ""), duration(service, run)
        row: dict[str, object] = {
            "id": run.id,
            "name": run.shown,
            "state": _state(run),
            "best": _number(run.best),
            "last": _number(run.last),
            "duration": "" if ran_s is None else f"{ran_s:.0f} s",
            "rows": run.history_rows,
            "agent": (agent.host or agent.id) if agent else "",
            "config": _config(run),
        }
        rows.append(row)
    return rows


def _agents(service: Service, runs: Iterable[Run]) -> Iterable[Agent]:
    for agent_id in {run.agent for run in runs if run.agent}:
        agent = service.store.agent(agent_id)
        if agent is not None:
            yield agent


def _state(run: Run) -> str:
    notes = []
    if run.stop == "early":
        notes.append("stopped early")
    if run.attempts > 1:
        notes.append(f"attempt {run.attempts}")
    if run.failure:
        why = json.loads(run.failure)
        notes.append(str(why.get("class")))
        if why.get("signal"):
            notes.append(f"signal {why['signal']}")
        elif why.get("exit_code") is not None:
            notes.append(f"exit {why['exit_code']}")
    return run.state + (f" ({', '.join(notes)})" if notes else "")


def _config(run: Run) -> str:
    shown = [
        f"{key}={_number(value) if isinstance(value, float) else value}"
        for key, value in chosen_config(run).items()
    ]
    return " ".join(shown)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _chart(values: Sequence[float], *, goal: Goal) -> dict[str, object] | None:
    """Each run's best in the order of their starts, and the best so far as a line.

    Of many runs only some are drawn, the best so far of those between included.
    """
    finite = [value for value in values if math.isfinite(value)]
    values = thin_out(finite, goal, most=SHOWN_POINTS)
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    scale = (high - low) or 1.0
    across = 780 / (len(values) - 1)

    def place(at: int, value: float) -> tuple[str, str]:
        return f"{10 + at * across:.1f}", f"{10 + 160 * (high - value) / scale:.1f}"

    line = [",".join(place(at, value)) for at, value in enumerate(best_so_far(values, goal))]
    return {
        "title": f"best value of each run, from {_number(low)} to {_number(high)}",
        "line": " ".join(line),
        "dots": [place(at, value) for at, value in enumerate(values)],
    }
