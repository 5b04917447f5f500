"""A ledger that is only looked at: a copy, with what its last writer had not yet moved over."""

import shutil
from pathlib import Path

from runner.offline.ledger import Ledger, Receipt, opened
from runner.offline.staging import Destination

RUN = Destination("acme", "vision", "r1", "")
DONE = Receipt("done", (("offline-run-1", 7),), rows=3, size=7)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_look_sees_all_receipts_and_changes_no_file(tmp_path: Path) -> None:
    """Also those in the log of a sync that was killed, whose files lie as it left them."""
    live, killed = tmp_path / "live", tmp_path / "killed"
    ledger = Ledger(live / "sync.db", "https://w")
    ledger.put([(RUN, DONE)])
    shutil.copytree(live, killed)
    ledger.close()
    assert (killed / "sync.db-wal").stat().st_size > 0
    before = files(killed)

    with opened(killed / "sync.db", "https://w", read_only=True) as seen:
        found = seen.receipt(RUN)

    assert found == DONE
    assert files(killed) == before


def test_a_look_where_nothing_was_sent_makes_no_file(tmp_path: Path) -> None:
    with opened(tmp_path / "none" / "sync.db", "https://w", read_only=True) as seen:
        assert seen.receipt(RUN) is None

    assert not list(tmp_path.iterdir())
