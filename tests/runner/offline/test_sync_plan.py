"""What is sent, what is not, and what the ledger keeps."""

from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.offline.batches import into_batches
from runner.offline.compare import RemoteRun, expect, judge
from runner.offline.ledger import Ledger, Receipt, fingerprints
from runner.offline.lock import exclusive
from runner.offline.log.file import LogFile
from runner.offline.log.find import LocalRun
from runner.offline.log.read import RunLog
from runner.offline.log.rewrite import Destination
from runner.offline.plan import plan_run
from runner.offline.transfer import Transfer

LOG = RunLog(
    LogFile(Path("/x"), "offline-run-1/run-r.wandb"),
    "complete",
    size=100,
    run_id="r",
    project="p",
    rows=10,
    last_step=9,
    config={"lr": 0.1},
    summary={"loss": 1.0, "nan": float("nan")},
    exit_code=0,
)
MORE = replace(LOG, file=LogFile(Path("/x"), "offline-run-2/run-r.wandb"), rows=5)
THERE = RemoteRun("finished", 10, 9, {"lr": 0.1, "_wandb": {}}, {"loss": 1, "nan": "NaN"}, None)
TO = Destination("acme", "p", "r")
BEGUN = Receipt("begun", fingerprints([LOG]), 10, 100)
DONE = Receipt("done", fingerprints([LOG]), 10, 100)


@pytest.mark.parametrize(
    ("seen", "finding"),
    [
        (None, "absent"),
        (THERE, "complete"),
        (replace(THERE, rows=4), "short"),
        (replace(THERE, rows=14), "twice"),
        (replace(THERE, state="running"), "short"),
        (replace(THERE, state="crashed"), "differs"),
        (replace(THERE, last_step=8), "differs"),
        (replace(THERE, config={}), "differs"),
        (replace(THERE, summary={"loss": 2, "nan": "NaN"}), "differs"),
    ],
)
def test_a_run_has_arrived_only_if_all_of_it_is_there(seen: RemoteRun | None, finding: str) -> None:
    assert judge(expect([LOG], ""), seen)[0] == finding


def test_a_run_outside_its_sweep_has_not_arrived() -> None:
    expected = expect([LOG], "sw")

    assert judge(expected, THERE) == ("differs", "it is not in sweep `sw` there")
    assert judge(expected, replace(THERE, sweep="sw"))[0] == "complete"


def test_a_killed_run_is_expected_as_failed_and_fragments_add_up() -> None:
    killed = expect([LOG, replace(MORE, exit_code=None)], "")

    assert (killed.state, killed.rows, killed.last_step) == ("failed", 15, None)


@pytest.mark.parametrize(
    ("receipt", "seen", "do", "cause"),
    [
        (None, None, "send", "it is not there"),
        (None, replace(THERE, state="pending", rows=0, last_step=None), "send", "it is not there"),
        (None, THERE, "confirm", "it is there"),
        (DONE, None, "already", "it has a receipt"),
        (BEGUN, None, "send", "it is not there"),
        (BEGUN, THERE, "confirm", "it is there"),
        (
            BEGUN,
            replace(THERE, rows=4),
            "refuse",
            "an earlier sync was interrupted: 4 of 10 rows are there; it is not sent again",
        ),
        (
            None,
            replace(THERE, rows=20),
            "refuse",
            (
                "something else has sent it: 20 rows there, 10 in its log: rows were "
                "sent twice; it is not sent again"
            ),
        ),
        (
            replace(DONE, logs=(("offline-run-1", 90),)),
            None,
            "refuse",
            "its log has changed since it was sent",
        ),
    ],
)
def test_a_run_is_sent_once(
    receipt: Receipt | None, seen: RemoteRun | None, do: str, cause: str
) -> None:
    step = plan_run([LOG], receipt, expect([LOG], ""), seen)

    assert (step.do, step.cause) == (do, cause)


def test_of_a_run_that_went_on_only_the_new_log_is_sent() -> None:
    step = plan_run([LOG, MORE], DONE, expect([LOG, MORE], ""), None)

    assert (step.do, step.logs) == ("send", (MORE,))


def test_a_run_whose_sending_was_begun_is_sent_alone_and_last() -> None:
    """It may be what ended W&B's client, or was beside it."""
    expected = expect([LOG], "")
    step = plan_run([LOG], None, expected, None)
    fresh, begun = (
        [
            Transfer(LocalRun((LOG,)), replace(TO, run_id=name), expected, step, begun=again)
            for name in names
        ]
        for names, again in (("abc", False), ("xy", True))
    )

    mixed = [begun[0], *fresh, begun[1]]
    batches = [[one.to.run_id for one in batch] for batch in into_batches(mixed, 2)]

    assert batches == [["a", "c"], ["b"], ["x"], ["y"]]
    assert into_batches([], 2) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (10**400, 10**400, True),
        (10**400, 1, False),
        (10**400, "Infinity", False),
        ([10**400], [float("inf")], False),
    ],
)
def test_integers_of_any_size_are_compared(one: object, other: object, same: bool) -> None:
    here = expect([replace(LOG, config={"x": one})], "")

    found, _ = judge(here, replace(THERE, config={"x": other}))

    assert found == ("complete" if same else "differs")


def test_the_ledger_keeps_receipts_and_sweeps_by_target(tmp_path: Path) -> None:
    ledger, other = (Ledger(tmp_path / "sync.db", url) for url in ("https://a", "https://b"))
    ledger.put([(TO, BEGUN)])
    ledger.put([(TO, DONE)])
    ledger.put_sweep("l/p/s", None)
    begun = ledger.sweep("l/p/s")
    ledger.put_sweep("l/p/s", "acme/p/x")

    assert (ledger.receipt(TO), other.receipt(TO)) == (DONE, None)
    assert begun == (True, None)
    assert (ledger.sweep("l/p/s"), other.sweep("l/p/s")) == ((True, "acme/p/x"), (False, None))
    ledger.close()
    other.close()


def test_two_syncs_at_once_are_refused(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "sync.lock", patience_s=0),
        pytest.raises(RunnerError, match="another sync-offline"),
        exclusive(tmp_path / "sync.lock", patience_s=0),
    ):
        pass
