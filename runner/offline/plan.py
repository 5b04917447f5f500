"""Plan what to do with each run. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runner.offline.compare import Expected, RemoteRun, judge
from runner.offline.ledger import Receipt, fingerprints
from runner.offline.log.read import RunLog


@dataclass(frozen=True, slots=True)
class SendPlan:
    """The plan for one run, and its cause."""

    do: Literal["send", "already", "confirm", "refuse"]
    logs: tuple[RunLog, ...]  # the logs to send
    cause: str


def plan_run(
    logs: Sequence[RunLog], receipt: Receipt | None, expected: Expected, seen: RemoteRun | None
) -> SendPlan:
    """Decide: send the run, skip it, confirm what has arrived, or refuse to send it again.

    Args:
        logs: the run's logs in order, all sendable.
        receipt: from the ledger.
        expected: from all its logs.
        seen: the run on the target; not read if a receipt covers all logs.
    """
    now = fingerprints(logs)
    if receipt and receipt.state == "done":
        if receipt.logs == now:
            return SendPlan("already", (), "it has a receipt")
        if receipt.logs == now[: len(receipt.logs)]:
            return SendPlan(
                "send", tuple(logs[len(receipt.logs) :]), "it continued after its receipt"
            )
        return SendPlan("refuse", (), "its log has changed since it was sent")
    finding, reason = judge(expected, seen)
    if finding == "complete":
        return SendPlan("confirm", (), "it is there")
    if finding == "absent" or (seen is not None and seen.rows == 0 and _untouched(seen, expected)):
        return SendPlan("send", tuple(logs), "it is not there")
    begun = "an earlier sync was interrupted" if receipt else "something else has sent it"
    return SendPlan("refuse", (), f"{begun}: {reason}; it is not sent again")


def _untouched(seen: RemoteRun, expected: Expected) -> bool:
    """Whether a run without rows can be sent: W&B creates a sweep's runs before they start."""
    return expected.rows > 0 or seen.state in ("pending", "running", "crashed", "killed", "failed")
