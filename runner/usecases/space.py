"""What our sweep server holds, and how room is made on it."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from runner.agent.contract.sweeps import SweepPath
from runner.backend.client import Client
from runner.console import format_bytes
from runner.console.narration import Report
from runner.errors import ExitCode, RunnerError

Answer = dict[str, Any]
UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
REPORT_EVERY_S = 10.0


def read_usage(client: Client, *, with_runs: bool) -> Answer:
    """What each W&B project, sweep and perhaps run holds."""
    return client.ask("GET", "/usage?runs=1" if with_runs else "/usage")


def plan_sweep(client: Client, path: SweepPath, *, force: bool) -> Answer:
    """What a sweep holds, which is to be deleted.

    Raises:
        RunnerError: it has live runs (1), unless `force`.
    """
    plan = client.ask("DELETE", f"{_route(path)}?dry_run=1", repeatable=True)
    if plan["live"] and not force:
        raise RunnerError(
            f"sweep {path} has {plan['live']} live runs",
            hint="`runner stop` ends them; `--force` deletes the sweep under them",
        )
    return plan


def delete_sweep(client: Client, path: SweepPath, *, force: bool, report: Report) -> None:
    """Delete a sweep with its runs; repeat it after an interruption."""
    route = f"{_route(path)}?force={int(force)}"

    def step() -> Answer:
        try:
            return client.ask("DELETE", route, repeatable=True)
        except RunnerError as error:
            if error.code == ExitCode.NOT_FOUND:  # gone, and the reply was lost
                return {"left": 0}
            raise

    _repeat(step, report)


def read_criteria(
    place: str | None, *, older_than: str | None, keep_best: int | None, media_only: bool
) -> Mapping[str, object]:
    """Which runs are to be deleted, for the server.

    Raises:
        RunnerError: nothing says which, or a value cannot be read (2).
    """
    if older_than is None and keep_best is None and not media_only:
        raise RunnerError(
            "nothing says which runs to delete",
            hint="`--older-than 30d`, `--keep-best 10` or `--media-only`; `--dry-run` shows them",
            code=ExitCode.USAGE,
        )
    before = None if older_than is None else time.time() - parse_age(older_than)
    fields = {"place": place and place.strip("/"), "before": before, "keep_best": keep_best}
    return {**fields, "media_only": media_only}


def plan_prune(client: Client, criteria: Mapping[str, object]) -> Answer:
    """What the chosen runs hold, and how many others stay, by the reason."""
    return client.ask("POST", "/prune", {**criteria, "dry_run": True}, repeatable=True)


def prune(client: Client, criteria: Mapping[str, object], *, report: Report) -> None:
    """Delete the chosen runs, or their media; repeat it after an interruption."""
    _repeat(lambda: client.ask("POST", "/prune", criteria, repeatable=True), report)


def describe(held: Mapping[str, Any], *, media_only: bool = False) -> str:
    """What something holds, in one line."""
    if media_only:
        return f"media of {_count(held['runs'])}, {format_bytes(held['bytes'])}"
    parts = [
        f"database {format_bytes(held['database_bytes'])}",
        f"files {format_bytes(held['file_bytes'])}",
        f"artifacts {format_bytes(held['artifact_bytes'])}",
    ]
    what = f"{_count(held['runs'])}, {held['rows']} rows, {format_bytes(held['bytes'])}"
    return f"{what} ({', '.join(parts)})"


def parse_age(text: str) -> float:
    """Seconds of `90m`, `12h`, `30d`, `2w`.

    Raises:
        RunnerError: it is none of these (2).
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\s*", text.lower())
    if not found:
        raise RunnerError(
            f"`{text}` is not an age",
            hint="a number of minutes, hours, days or weeks: `90m`, `12h`, `30d`, `2w`",
            code=ExitCode.USAGE,
        )
    return float(found[1]) * UNITS_S[found[2]]


def _repeat(step: Callable[[], Answer], report: Report) -> None:
    """Ask again until nothing is left: the server works for a second each time."""
    told = time.monotonic()
    while left := step()["left"]:
        if time.monotonic() - told > REPORT_EVERY_S:
            told = time.monotonic()
            report(f"{_count(left)} left")


def _route(path: SweepPath) -> str:
    return "/sweeps/" + "/".join(quote(name, safe="") for name in str(path).split("/"))


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"
