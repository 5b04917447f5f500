"""Command: `sweep show`."""

from collections import Counter

from runner import console
from runner.backend.nodes import RunInfo
from runner.cli import shapes
from runner.cli.options import JsonOption, ServerOption, SweepArgument
from runner.cli.session import open_session
from runner.cli.sweep.titles import title
from runner.console.terminal import inline
from runner.fleet.ends import describe_failure, describe_peaks, find_last_words
from runner.search.best import find_best
from runner.sweeps.records import SweepHandle
from runner.usecases.sweeps import read_sweep

HEADER = ("RUN", "STATE", "BEST", "LAST", "TIME", "MEMORY", "WHY")
LONGEST_LINE = 80  # of a program's last one; `--json` has it whole


def show(name: SweepArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show a sweep's runs and the best so far."""
    joined, runs = read_sweep(open_session(read_only=True, quiet=as_json), name, server)
    best = find_best(runs, joined.sweep.goal)
    if as_json:
        console.data(console.to_json(shapes.sweep_with_runs(joined, runs, best)))
        return
    console.data(_describe(joined, runs, best))


def _describe(joined: SweepHandle, runs: list[RunInfo], best: RunInfo | None) -> str:
    sweep = joined.sweep
    counts = Counter(run.state for run in runs)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none yet"
    engine = "" if sweep.engine in (None, sweep.method) else f" (engine {sweep.engine})"
    path, method = inline(sweep.path), inline(sweep.method + engine)
    lines = [f"{path}  {sweep.state.lower()}", f"method  {method}", f"runs    {inline(states)}"]
    if sweep.metric:
        value = "none yet" if best is None else f"{best.best:.6g} by {title(best)}"
        lines.append(inline(f"best    {sweep.metric} {value}, goal {sweep.goal}"))
    if runs:
        lines += ["", console.table(HEADER, _rows(runs))]
    return "\n".join([*lines, "", inline(f"page    {joined.url}")])


def _rows(runs: list[RunInfo]) -> list[tuple[str, ...]]:
    return [
        (
            run.id,
            run.state,
            "-" if run.best is None else f"{run.best:.6g}",
            "-" if run.last is None else f"{run.last:.6g}",
            "-" if run.duration_s is None else console.format_duration(run.duration_s),
            ", ".join(describe_peaks(run.host_peak_bytes, run.gpu_peak_bytes)) or "-",
            _why(run),
        )
        for run in runs
    ]


def _why(run: RunInfo) -> str:
    if run.stopped_early:
        return "stopped early"
    if not run.failure:
        return ""
    own = find_last_words(run.failure.get("lines"))
    return describe_failure(run.failure) + (f": {own[:LONGEST_LINE]}" if own else "")
