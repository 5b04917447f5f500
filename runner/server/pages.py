"""What a browser shows: the list of sweeps and a page per sweep. No scripts, all escaped."""

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

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
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#1c2430;background:#fff}
h1{font-size:1.3rem;margin:0 0 .2rem}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
a{color:#0b57a4}.quiet{color:#5b6676}
table{border-collapse:collapse;width:100%;font-size:.92em}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid #e3e7ec;
vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code,pre{font:.92em ui-monospace,monospace}pre{background:#f5f7f9;padding:.7rem;overflow:auto}
.wide{overflow-x:auto}svg{width:100%;max-width:800px;display:block}
@media(prefers-color-scheme:dark){body{color:#dfe5ec;background:#14181d}a{color:#7db8f0}
th,td{border-color:#2b333c}pre{background:#1d232a}.quiet{color:#94a0ae}}
"""


def index(service: Service, access: Access = ADMIN) -> str:
    """All sweeps that a key opens, the newest first."""
    sweeps = [one for one in reversed(service.store.sweeps()) if access.sees(one)]
    rows = [
        [
            f'<a href="{sweep_link(one)}">{escape(one.path)}</a>',
            escape(one.name or ""),
            escape(one.state.lower()),
            escape(_method(service, one)),
            str(service.store.sums.count_runs(one)),
        ]
        for one in sweeps
    ]
    body = _table(["sweep", "name", "state", "method", "runs"], rows, numbers=(4,))
    return _document("sweeps", f"<h1>Sweeps</h1>{body if rows else '<p>None yet.</p>'}")


def sweep(service: Service, sweep: Sweep) -> str:
    """One sweep: how far it is, the best so far, each run, its configuration."""
    store, spec = service.store, service.spec(sweep)
    runs, counts = store.newest_runs(sweep, SHOWN_RUNS), store.sums.count_states(sweep)
    best = store.best_run(sweep, spec.goal)
    total = sum(counts.values())
    states = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    metric = (
        f"{escape(spec.goal)} <code>{escape(spec.metric)}</code>" if spec.metric else "no metric"
    )
    facts = [
        escape(sweep.path),
        escape(sweep.state.lower()),
        escape(f"{spec.method} ({engine_of(spec.method).name})"),
        metric,
    ]
    parts = [
        f"<h1>{escape(sweep.name or sweep.id)}</h1>",
        f'<p class="quiet">{" · ".join(facts)}</p>',
        f"<p>{total} runs{': ' if states else ''}{escape(states)}</p>",
        _best(best),
        _chart(store.sums.bests(sweep), goal=spec.goal),
        f"<h2>{'Runs' if total <= SHOWN_RUNS else f'The newest {SHOWN_RUNS} runs'}</h2>",
        _runs_table(service, runs),
        f"<h2>Configuration</h2><pre>{escape(sweep.config)}</pre>",
        '<p><a href="/">all sweeps</a></p>',
    ]
    live = sweep.state in ("RUNNING", "PAUSED") or not counts.keys().isdisjoint(LIVE)
    return _document(sweep.name or sweep.id, "".join(parts), refresh=live)


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


def _method(service: Service, sweep: Sweep) -> str:
    try:
        return service.spec(sweep).method
    except Refused:  # an older version took it
        return "not readable"


def _best(run: Run | None) -> str:
    if run is None or run.best is None:
        return '<p class="quiet">No value of the metric yet.</p>'
    return (
        f"<p><strong>best so far {escape(_number(run.best))}</strong> · run "
        f'<a href="{escape(run_link(run))}">{escape(run.shown)}</a> · {_config(run)}</p>'
    )


def _runs_table(service: Service, runs: Sequence[Run]) -> str:
    agents = {one.id: one for one in _agents(service, runs)}
    rows = []
    for run in runs:
        agent = agents.get(run.agent or "")
        ran_s = duration(service, run)
        rows.append(
            [
                f'<span id="{escape(run.id)}">{escape(run.shown)}</span>',
                escape(_state(run)),
                escape(_number(run.best)),
                escape(_number(run.last)),
                "" if ran_s is None else f"{ran_s:.0f} s",
                str(run.history_rows),
                escape((agent.host or agent.id) if agent else ""),
                _config(run),
            ]
        )
    heads = ["run", "state", "best", "last", "duration", "rows", "agent", "config"]
    return _table(heads, rows, numbers=(2, 3, 4, 5)) if rows else "<p>None yet.</p>"


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
    return f"<code>{escape(' '.join(shown))}</code>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _chart(values: Sequence[float], *, goal: Goal) -> str:
    """Each run's best in the order of their starts, and the best so far as a line.

    Of many runs only some are drawn, the best so far of those between included.
    """
    finite = [value for value in values if math.isfinite(value)]
    values = thin_out(finite, goal, most=SHOWN_POINTS)
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    scale = (high - low) or 1.0
    across = 780 / (len(values) - 1)

    def place(at: int, value: float) -> str:
        return f"{10 + at * across:.1f},{10 + 160 * (high - value) / scale:.1f}"

    line = [place(at, value) for at, value in enumerate(best_so_far(values, goal))]
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3" fill="#7a8796"/>'
        for x, y in (place(at, value).split(",") for at, value in enumerate(values))
    )
    title = f"best value of each run, from {_number(low)} to {_number(high)}"
    return (
        f'<svg viewBox="0 0 800 180" role="img"><title>{escape(title)}'
        f'</title><polyline points="{" ".join(line)}" fill="none" stroke="#0b7a4b" '
        f'stroke-width="2"/>{dots}</svg><p class="quiet">{escape(title)}; line: best so far</p>'
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int]) -> str:
    """A table of cells that are escaped already."""
    kind = ['class="n"' if at in numbers else "" for at in range(len(heads))]
    head = "".join(f"<th {kind[at]}>{escape(one)}</th>" for at, one in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td {kind[at]}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _document(title: str, body: str, *, refresh: bool = True) -> str:
    again = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)} · runner</title><style>{STYLE}</style></head>"
        f"<body>{body}</body></html>"
    )
