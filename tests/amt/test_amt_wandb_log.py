"""Rows in W&B's logs on disk; the frames are written by the module that `sync-offline` uses."""

from __future__ import annotations

import io
import random
from pathlib import Path

from wandb.proto import wandb_internal_pb2

from amt.wandb_log import find_earlier_logs, read_logged_steps
from runner.offline.log.leveldb import FrameWriter


def make_log(steps: list[int], *, padding: int = 10) -> bytes:
    """A log with one row for each step, between records of other kinds."""
    file = io.BytesIO()
    writer = FrameWriter(file)
    for step in steps:
        for kind in ("history", "output"):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined] # made at run time
            if kind == "history":
                record.history.step.num = step
                record.history.item.add(key="x", value_json="1" * padding)
            else:
                record.output.line = "line"
            writer.write(record.SerializeToString())
    return file.getvalue()


def test_the_steps_of_all_rows_are_read_also_of_rows_longer_than_a_block(tmp_path: Path) -> None:
    logs = []
    for number, padding in enumerate((10, 5_000, 40_000)):
        logs.append(tmp_path / f"{number}.wandb")
        logs[-1].write_bytes(make_log(list(range(number, 60, 3)), padding=padding))

    assert read_logged_steps(logs) == set(range(60))


def test_of_a_log_that_is_cut_or_damaged_the_rows_before_count(tmp_path: Path) -> None:
    content, log, chance = (
        make_log(list(range(40)), padding=3000),
        tmp_path / "a.wandb",
        random.Random(0),
    )

    for _ in range(60):
        damaged = bytearray(content)
        place = chance.randrange(len(content))
        if chance.random() < 0.5:
            del damaged[place:]
        else:
            damaged[place] ^= 0xFF
        log.write_bytes(damaged)

        steps = read_logged_steps([log])
        assert steps == set(range(len(steps)))

    assert read_logged_steps([log]) != set(range(40))


def test_the_logs_of_other_attempts_at_this_run_are_found(tmp_path: Path) -> None:
    for name in (
        "offline-run-2-abc",
        "offline-run-1-abc",
        "offline-run-3-abc",
        "offline-run-1-xyz",
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"run-{name.rpartition('-')[2]}.wandb").write_bytes(b"")

    found = find_earlier_logs(tmp_path, "abc", tmp_path / "offline-run-3-abc")

    assert [log.parent.name for log in found] == ["offline-run-1-abc", "offline-run-2-abc"]
