"""Logs of the real client, read, cut, damaged and rewritten."""

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.offline.log.file import LogFile
from runner.offline.log.find import find_logs, read_runs
from runner.offline.log.leveldb import BLOCK, MAGIC, FrameError, FrameWriter, read_frames
from runner.offline.log.read import RunLog, read_log
from runner.offline.log.rewrite import Destination, Staged, stage
from runner.offline.log.writers import find_open
from tests.rig.waiting import wait_for
from tests.runner.offline.conftest import Made
from tests.runner.offline.logs import start_runs, wait

TO = Destination("acme", "there", "good", "newsweep")


def write(*records: bytes) -> bytes:
    file = io.BytesIO()
    writer = FrameWriter(file)
    for record in records:
        writer.write(record)
    return file.getvalue()


def read(data: bytes) -> list[bytes]:
    return list(read_frames(io.BytesIO(data)))


def read_at(path: Path) -> RunLog:
    return read_log(LogFile.at(path))


def staged(path: Path, to: Destination, folder: Path, own_entity: str = "") -> Staged:
    nowhere = folder / "nowhere"
    return stage(read_at(path), to, folder, own_staging=nowhere, own_entity=own_entity)


def test_records_of_every_size_come_back() -> None:
    sizes = [*range(20), BLOCK - 20, BLOCK - 7, BLOCK, 3 * BLOCK + 5, 1]
    records = [bytes([size % 251]) * size for size in sizes]

    assert read(write(*records)) == records


def test_a_log_cut_in_a_record_is_truncated_and_one_cut_at_a_block_is_a_killed_writers() -> None:
    data = write(b"a" * 100, b"b" * (2 * BLOCK))

    assert read(data[:BLOCK]) == read(data[: 2 * BLOCK]) == [b"a" * 100]
    with pytest.raises(FrameError) as caught:
        read(data[: BLOCK + 500])
    assert caught.value.kind == "truncated"


def test_a_changed_byte_is_damage_and_another_file_is_foreign() -> None:
    data = bytearray(write(b"a" * 100, b"b" * 100))
    data[-1] ^= 1

    with pytest.raises(FrameError) as damaged:
        read(bytes(data))
    with pytest.raises(FrameError) as foreign:
        read(b"PK\x03\x04 this is a zip file")

    assert (damaged.value.kind, foreign.value.kind) == ("damaged", "foreign")


@pytest.mark.client
def test_the_clients_own_logs_are_written_back_byte_for_byte(made: Made) -> None:
    for log in made.logs.values():
        data = log.read_bytes()

        assert write(*read(data)) == data


@pytest.mark.client
def test_a_log_tells_what_its_run_was(made: Made) -> None:
    logs = {name: read_at(path) for name, path in made.logs.items()}

    assert {name: (log.verdict, log.exit_code) for name, log in logs.items()} == {
        "good": ("complete", 0),
        "art": ("complete", 0),
        "bad": ("complete", 3),
        "dead": ("killed", None),
    }
    good = logs["good"]
    assert (good.run_id, good.project, good.sweep) == ("good", "uncategorized", "sw1")
    assert (good.rows, good.last_step) == (20, 19)
    assert good.config == {"lr": 0.1, "deep": {"a": [1, "b"]}, "name": "good"}
    assert good.summary["loss"] == 28.5
    assert (good.summary["deep"], good.summary["note"]) == ({"x": 19}, "good")
    assert logs["art"].artifacts == ("made-art",)


@pytest.mark.client
def test_reading_does_not_import_the_client(made: Made) -> None:
    code = (
        "import sys; from pathlib import Path; from runner.offline.log.read import read_log;"
        "from runner.offline.log.file import LogFile; log = LogFile.at(Path(sys.argv[1]));"
        "assert read_log(log).rows == 20; assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(made.logs["good"])], check=True)


@pytest.mark.client
def test_each_bad_log_is_named_for_what_it_is(made: Made, tmp_path: Path) -> None:
    good = made.logs["good"].read_bytes()
    bad = {
        "nothing": b"",
        "header": MAGIC,
        "cut": good[:-10],
        "short": MAGIC[:4],
        "zip": b"PK\x03\x04xxxxxxxxxx",
    }
    for name, data in bad.items():
        folder = tmp_path / f"offline-run-20260101_000000-{name}"
        folder.mkdir()
        (folder / f"run-{name}.wandb").write_bytes(data)

    runs = read_runs(find_logs([tmp_path]), live=())

    assert {one.folder.name[28:] or one.run_id: one.bad.verdict for one in runs if one.bad} == {
        "nothing": "empty",
        "header": "empty",
        "cut": "truncated",
        "short": "truncated",
        "zip": "foreign",
    }


@pytest.mark.client
def test_a_log_that_a_process_has_open_is_left_alone(tmp_path: Path) -> None:
    process = start_runs(tmp_path, "open", "live")
    assert process.stdout is not None
    process.stdout.readline()
    logs = find_logs([tmp_path / "wandb"])
    paths = [log.path for log in logs]
    wait_for(lambda: all(path.stat().st_size > len(MAGIC) for path in paths))  # the first flush
    [during] = read_runs(logs, live=find_open(paths, now=time.time()))
    assert wait(process) == 0
    [after] = read_runs(logs, live=find_open(paths, now=time.time()))

    assert during.bad is not None
    assert during.bad.verdict == "open"
    assert (after.bad, after.logs[0].rows) == (None, 20)


@pytest.mark.client
def test_a_staged_copy_says_where_it_goes_and_the_original_stays(
    made: Made, tmp_path: Path
) -> None:
    before = made.logs["good"].read_bytes()

    copy = staged(made.logs["good"], TO, tmp_path / "copy")

    log = read_at(copy.log)
    assert (log.entity, log.project, log.sweep) == ("acme", "there", "newsweep")
    assert (log.rows, log.exit_code) == (20, 0)
    names = [one.name for one in (copy.log.parent / "files").iterdir()]
    assert names == ["requirements.txt"]  # what the log names; W&B's sync makes the others
    assert made.logs["good"].read_bytes() == before


@pytest.mark.client
def test_a_log_that_goes_where_it_says_stays_as_it_is(made: Made, tmp_path: Path) -> None:
    there = Destination("acme", "p", "bad")

    same = staged(made.logs["bad"], there, tmp_path / "1", own_entity="acme").log
    other = staged(made.logs["bad"], there, tmp_path / "2", own_entity="other").log

    assert same.read_bytes() == made.logs["bad"].read_bytes()
    assert (read_at(same).entity, read_at(other).entity) == ("", "acme")


@pytest.mark.client
def test_a_killed_run_is_staged_with_an_end(made: Made, tmp_path: Path) -> None:
    copy = staged(made.logs["dead"], TO, tmp_path / "copy")

    assert (read_at(copy.log).verdict, read_at(copy.log).exit_code) == ("complete", 1)


@pytest.mark.client
def test_artifacts_are_found_where_the_folder_is_now_and_named_where_not(
    made: Made, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(made.home, moved, symlinks=True)
    log = moved / made.logs["art"].relative_to(made.home)
    there = staged(log, TO, tmp_path / "1")
    staging = moved / "artifacts" / "staging"
    kept = [one for one in staging.rglob("*") if one.is_file()]
    elsewhere = made.home / "artifacts"
    elsewhere.rename(made.home / "gone")
    try:
        found = staged(log, TO, tmp_path / "2")
        shutil.rmtree(staging)
        gone = staged(log, TO, tmp_path / "3")
    finally:
        (made.home / "gone").rename(elsewhere)

    assert kept
    assert (there.left, found.left) == ((), ())
    assert [one.name for one in gone.left] == ["made-art"]
    assert read_at(gone.log).artifacts == ()
