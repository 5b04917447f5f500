"""What is to be done with each run. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runner.offline.compare import Expected, RemoteRun, judge
from runner.offline.ledger import Receipt, fingerprints
from runner.offline.log.read import RunLog


@dataclass(frozen=True, slots=True)
class SendPlan:
    """One run's next step, and why."""

    do: Literal["send", "already", "confirm", "refuse"]
    logs: tuple[RunLog, ...]  # to be sent
    cause: str


def plan_run(
    logs: Sequence[RunLog], receipt: Receipt | None, expected: Expected, seen: RemoteRun | None
) -> SendPlan:
    """Send it, leave it, enter what is there, or name what must not be sent again.

    Args:
        logs: the run's logs in order, all sendable.
        receipt: what the ledger knows of it.
        expected: of all its logs.
        seen: the run on the target; not asked for where a receipt covers all logs.
    """
    now = fingerprints(logs)
    if receipt and receipt.state == "done":
        if receipt.logs == now:
            return SendPlan("already", (), "it has a receipt")
        if receipt.logs == now[: len(receipt.logs)]:
            return SendPlan(
                "send", tuple(logs[len(receipt.logs) :]), "it went on since its receipt"
            )
        return SendPlan("refuse", (), "its log has changed since it was sent")
    finding, reason = judge(expected, seen)
    if finding == "complete":
        return SendPlan("confirm", (), "it is there")
    if finding == "absent" or (seen is not None and seen.rows == 0 and _untouched(seen, expected)):
        return SendPlan("send", tuple(logs), "it is not there")
    begun = "its sending was interrupted" if receipt else "it was sent before, by something else"
    return SendPlan("refuse", (), f"{begun}: {reason}; it is not sent again")


def _untouched(seen: RemoteRun, expected: Expected) -> bool:
    """W&B makes a sweep's run when its agent asks; a run without rows can be sent anew as well."""
    return expected.rows > 0 or seen.state in ("pending", "running", "crashed", "killed", "failed")
