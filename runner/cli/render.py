"""How plans and their outcomes are told: lines, a table, or one JSON object."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner import console
from runner.errors import ExitCode, RunnerError

if TYPE_CHECKING:
    from runner.fleet.apply import Result
    from runner.fleet.plan import Action
    from runner.state import State


def report_result(result: "Result") -> None:
    """One line per finished action."""
    action = result.action
    outcome = "" if result.outcome == "done" else f" {result.outcome}"
    facts = [action.cause, result.error.message if result.error else result.detail]
    if action.do == "stop" and facts[1]:
        facts = facts[1:]  # what came of it says more than what was to come
    what = "; ".join(fact for fact in facts if fact)
    console.note(f"{action.do}{outcome} {action.agent} on {action.uuid}: {what}")


def tell_mounts(outside: "Sequence[Mapping[str, str]]") -> None:
    """One line per mount whose source lies outside of the project: what runs reach of the host."""
    for mount in outside:
        mode = "read and write" if mount["mode"] == "rw" else "read"
        origin = "`--mount`" if mount["origin"] == "flag" else mount["origin"]
        console.note(f"runs {mode} `{mount['source']}` at `{mount['target']}` ({origin})")


def plan_table(results: "Sequence[Result]") -> str:
    """The plan as `--dry-run` shows it."""
    rows = [(r.action.do, r.action.agent, r.action.uuid, r.action.cause) for r in results]
    return console.table(("DO", "AGENT", "GPU", "CAUSE"), rows)


def tell_plan(
    state: "State",
    sweep: str,
    actions: "Sequence[Action]",
    outside: "Sequence[Mapping[str, str]]",
    *,
    as_json: bool,
) -> ExitCode:
    """Print a plan that is not carried out: it was only asked for, or something is refused."""
    from runner.fleet.apply import Result

    refused = [action for action in actions if action.do == "refuse"]
    results = [Result(a, "failed" if a.do == "refuse" else "planned") for a in actions]
    if as_json:
        _print_json(state, sweep, results, outside)
        return ExitCode.UNFIT if refused else ExitCode.OK
    console.data(plan_table(results))
    if refused:
        raise RunnerError(
            f"{len(refused)} of {len(actions)} GPUs refused, so nothing was started: "
            + "; ".join(f"{action.uuid}: {action.cause}" for action in refused),
            hint="`runner gpus` shows who has them; choose others, or `--gpus free`",
            code=ExitCode.UNFIT,
        )
    return ExitCode.OK


def tell_results(
    state: "State",
    sweep: str,
    results: "Sequence[Result]",
    outside: "Sequence[Mapping[str, str]]",
    *,
    as_json: bool,
) -> ExitCode:
    """The outcome on stdout or in one line; the worst code of all actions."""
    if as_json:
        _print_json(state, sweep, results, outside)
    failed = [result for result in results if result.error]
    for result in failed:
        if result.error and result.error.hint:
            console.note(f"hint: {result.error.hint}")
    if any(_works(result) for result in results) and not failed:
        console.note(f"fleet {state.fleet} works on {sweep}; `runner ps` shows it")
    if any(result.action.do == "refuse" for result in failed):
        return ExitCode.UNFIT
    return failed[0].error.code if failed and failed[0].error else ExitCode.OK


def _works(result: "Result") -> bool:
    action = result.action
    kept = action.do == "keep" and action.old is not None and action.old.alive
    return kept or action.do in ("start", "replace")


def _print_json(
    state: "State",
    sweep: str,
    results: "Sequence[Result]",
    outside: "Sequence[Mapping[str, str]]",
) -> None:
    records = [result.to_record() for result in results]
    fields = {"fleet": state.fleet, "sweep": sweep, "actions": records, "mounts": outside}
    console.data(console.to_json(fields))
