"""Print plans and outcomes: as lines, a table, or one JSON object."""

from collections.abc import Mapping, Sequence

from runner import console
from runner.cli import shapes
from runner.errors import ExitCode, RunnerError
from runner.fleet.carry_out import Result
from runner.usecases.up.request import Planned, Started


def report_result(result: Result) -> None:
    """Print one line for a finished action."""
    action = result.action
    outcome = "" if result.outcome == "done" else f" {result.outcome}"
    facts = [action.cause, result.error.message if result.error else result.detail]
    if action.do == "stop" and facts[1]:
        facts = facts[1:]  # the outcome replaces the cause
    what = "; ".join(fact for fact in facts if fact)
    console.note(f"{action.do}{outcome} {action.agent} on {action.uuid}: {what}")


def plan_table(results: Sequence[Result]) -> str:
    """The plan as `--dry-run` shows it."""
    rows = [(r.action.do, r.action.agent, r.action.uuid, r.action.cause) for r in results]
    return console.table(("DO", "AGENT", "GPU", "CAUSE"), rows)


def show_plan(fleet: str, plan: Planned, *, as_json: bool) -> ExitCode:
    """Print a plan that is not carried out: of a dry run, or because it refuses a GPU.

    Raises:
        RunnerError: the plan refuses GPUs (6); with `as_json` the exit code alone is returned.
    """
    refused = plan.refused
    results = [Result(one, "failed" if one.do == "refuse" else "planned") for one in plan.actions]
    if as_json:
        _print_json(fleet, plan.sweep, results, plan.outside)
        return ExitCode.UNFIT if refused else ExitCode.OK
    console.data(plan_table(results))
    if refused:
        raise RunnerError(
            f"{len(refused)} of {len(results)} GPUs refused, so nothing was started: "
            + "; ".join(f"{action.uuid}: {action.cause}" for action in refused),
            hint="`runner gpus` shows who has them; choose others, or `--gpus free`",
            code=ExitCode.UNFIT,
        )
    return ExitCode.OK


def show_results(fleet: str, done: Started, *, as_json: bool) -> ExitCode:
    """Print the outcome, as JSON or in one line; return the highest exit code of the actions."""
    if as_json:
        _print_json(fleet, done.sweep, done.results, done.outside)
    failed = [result for result in done.results if result.error]
    for result in failed:
        if result.error and result.error.hint:
            console.note(f"hint: {result.error.hint}")
    if any(_works(result) for result in done.results) and not failed:
        console.note(f"fleet {fleet} works on {done.sweep}; `runner ps` shows it")
    if any(result.action.do == "refuse" for result in failed):
        return ExitCode.UNFIT
    return failed[0].error.code if failed and failed[0].error else ExitCode.OK


def show_stopped(
    fleet: str, results: Sequence[Result], *, as_json: bool, dry_run: bool
) -> ExitCode:
    """Print what `stop` and `down` did, or would do."""
    if as_json:
        records = [shapes.action(result) for result in results]
        console.data(console.to_json({"fleet": fleet, "actions": records}))
    elif dry_run:
        console.data(plan_table(results))
    failed = any(result.outcome == "failed" for result in results)
    return ExitCode.FAILED if failed else ExitCode.OK


def _works(result: Result) -> bool:
    action = result.action
    kept = action.do == "keep" and action.old is not None and action.old.alive
    return kept or action.do in ("start", "replace")


def _print_json(
    fleet: str, sweep: str, results: Sequence[Result], outside: Sequence[Mapping[str, str]]
) -> None:
    records = [shapes.action(result) for result in results]
    fields = {"fleet": fleet, "sweep": sweep, "actions": records, "mounts": outside}
    console.data(console.to_json(fields))
