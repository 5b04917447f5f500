"""What is held is measured; sweeps, old runs and media are removed, whenever a kill comes."""

import shutil
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.cli.confirm import confirm
from runner.errors import RunnerError
from runner.server import removal
from runner.server.check import check
from runner.server.floor import Floor
from runner.server.prune import Criteria, choose
from runner.server.records import Upload, blank_run
from runner.server.removal import (
    drop_run,
    find_lost,
    find_trash,
    remove_lost,
    remove_runs,
    remove_sweep,
)
from runner.server.seal import seal_all
from runner.server.service import Service
from runner.server.usage import measure, report
from runner.server.wire import Refused
from runner.usecases.space import parse_age
from tests.rig.command import start_runner
from tests.runner.server.player import GaveUpError, Player
from tests.runner.server.servers import (
    Clock,
    history,
    make_sweep,
    open_service,
    row,
    stream,
)

DAY = 86_400


def make_run(
    service: Service, name: str, *, best: float | None = None, ended: float = 0, sweep: str = "s1"
) -> None:
    """A finished run `local/demo/<name>` with rows in columns, a file and an image."""
    blank = blank_run("local", "demo", name, service.clock())
    service.store.put(replace(blank, sweep=sweep))
    for at in range(0, 1100, 100):
        stream(service, name, history(at, *(row(at + n, x=n) for n in range(100))))
    run = service.store.run("local", "demo", name)
    assert run is not None
    seal_all(service.store, run)
    run = service.store.run("local", "demo", name) or run
    ended = ended or service.clock()
    service.store.put(replace(run, state="finished", best=best, ended=ended))
    for file in ("config.yaml", "media/images/a.png"):
        path = service.store.folder("local", "demo", name) / "files" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        service.store.put_upload("local", "demo", name, Upload(file, 1000, service.clock()))


def names(service: Service) -> list[str]:
    """The runs that are there."""
    return [run.id for run in service.store.runs("local", "demo")]


def rows_left(service: Service, run: str) -> int:
    """Rows of any table that name a run."""
    tables = ("chunk", "series", "points", "band", "upload", "output")
    return sum(
        service.store.database.execute(f"select count(*) from {table} where run=?", (run,))[0][0]
        for table in tables
    )


def wanted(**fields: Any) -> Criteria:
    """What is to be pruned."""
    return Criteria.read(fields)


def prune(service: Service, criteria: Criteria) -> None:
    """Until nothing is left."""
    keys = choose(service, criteria).keys
    while keys:
        remove_runs(service, keys, media_only=criteria.media_only)
        keys = choose(service, criteria).keys


def test_what_is_held_adds_up(service: Service) -> None:
    make_sweep(service)
    make_run(service, "r1")
    make_run(service, "r2")

    shown: Any = report(service.store, measure(service.store), floor=0, with_runs=True)

    [project], [sweep], runs = shown["projects"], shown["sweeps"], shown["runs"]
    assert (project["project"], sweep["sweep"]) == ("local/demo", "local/demo/s1")
    assert (project["runs"], project["rows"], project["files"]) == (2, 2200, 4)
    assert project["bytes"] == sweep["bytes"] == sum(run["bytes"] for run in runs)
    assert (project["file_bytes"], project["media_bytes"]) == (4000, 2000)
    assert project["database_bytes"] > 2 * 1000


def test_a_sweep_goes_with_everything_that_is_its_own(service: Service) -> None:
    sweep = make_sweep(service)
    make_sweep(service, sweep_id="s2")
    make_run(service, "r1")
    make_run(service, "other", sweep="s2")

    while remove_sweep(service, sweep, force=False)["left"]:
        pass

    assert names(service) == ["other"]
    assert rows_left(service, "r1") == 0
    assert rows_left(service, "other") > 0
    assert service.store.sweep("local", "demo", "s1") is None
    assert not service.store.folder("local", "demo", "r1").exists()
    assert (service.store.folder("local", "demo", "other") / "files" / "config.yaml").exists()
    assert find_trash(service.store.root) == []


def test_a_sweep_with_live_runs_stays_unless_told(service: Service) -> None:
    sweep = make_sweep(service)
    service.store.put(replace(blank_run("local", "demo", "r1", service.clock()), sweep="s1"))

    with pytest.raises(Refused, match="1 live runs"):
        remove_sweep(service, sweep, force=False)
    assert service.store.sweep("local", "demo", "s1") == sweep
    assert remove_sweep(service, sweep, force=True) == {"removed": 1, "left": 0}
    assert service.store.sweep("local", "demo", "s1") is None


def test_a_step_ends_after_a_while_and_the_next_one_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(service)
    for at in range(3):
        make_run(service, f"r{at}")
    monkeypatch.setattr(removal, "STEP_S", 0.0)
    monkeypatch.setattr(removal, "TURN_S", 0.0)

    left = [remove_sweep(service, sweep, force=False)["left"] for _ in range(3)]

    assert left == [2, 1, 0]
    assert service.store.sweep("local", "demo", "s1") is None


def test_old_runs_go_and_the_best_stay(service: Service, clock: Clock) -> None:
    sweep = make_sweep(service)
    for at, best in enumerate((3.0, 1.0, None, 2.0)):
        make_run(service, f"r{at}", best=best, ended=clock.now - at * DAY)
    going = choose(service, wanted(keep_best=1))
    assert (going.keys, going.kept) == ([], {"best": 1, "sweep goes on": 3})
    service.store.put(replace(sweep, state="FINISHED"))

    def chosen(**fields: Any) -> list[str]:
        return [key[2] for key in choose(service, wanted(**fields)).keys]

    assert chosen(keep_best=2) == ["r0", "r2"]
    assert chosen(before=clock.now - 1.5 * DAY) == ["r2", "r3"]
    assert chosen(before=clock.now - 1.5 * DAY, keep_best=2) == ["r2"]
    assert chosen(keep_best=0, place="local/other") == []
    assert chosen(keep_best=0, place="local/demo/s1") == ["r0", "r1", "r2", "r3"]
    prune(service, wanted(keep_best=2))
    assert names(service) == ["r1", "r3"]
    prune(service, wanted(keep_best=2))
    assert names(service) == ["r1", "r3"]


def test_live_runs_and_runs_without_a_metric_stay(service: Service) -> None:
    sweep = make_sweep(service, "method: random\nparameters: {x: {min: 0.0, max: 1.0}}")
    service.store.put(replace(sweep, state="FINISHED"))
    make_run(service, "r1")
    service.store.put(replace(blank_run("local", "demo", "live", 0.0), sweep="s1"))

    assert choose(service, wanted(keep_best=0)).kept == {"no metric": 1, "live": 1}


def test_media_go_and_the_rest_stays(service: Service) -> None:
    make_sweep(service)
    make_run(service, "r1")
    before = rows_left(service, "r1")

    prune(service, wanted(media_only=True))

    run = service.store.run("local", "demo", "r1")
    assert run is not None
    assert [one.name for one in service.store.uploads(run)] == ["config.yaml"]
    assert rows_left(service, "r1") == before - 1
    files = service.store.folder("local", "demo", "r1") / "files"
    assert [one.name for one in files.iterdir()] == ["config.yaml"]
    assert choose(service, wanted(media_only=True)).keys == []


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"place": "demo", "media_only": True}, {"place": "a//b", "media_only": True}),
        *({"before": "x"}, {"before": True}, {"keep_best": -1}, {"keep_best": "x"}),
    ],
)
def test_what_does_not_say_which_runs_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Refused):
        Criteria.read(body)


def test_files_that_a_kill_left_are_found_and_removed(tmp_path: Path, clock: Clock) -> None:
    """Between the commit and the renaming; and between the renaming and the end of the files."""
    service = open_service(tmp_path, clock)
    make_sweep(service)
    for name in ("r1", "r2", "r3"):
        make_run(service, name)
    left = service.store.folder("local", "demo", "r1")
    shutil.copytree(left, tmp_path / "copy")
    run = service.store.run("local", "demo", "r1")
    assert run is not None
    with service.store.transaction():
        drop_run(service.store, run)
    shutil.copytree(tmp_path / "copy", left)
    service.store.close()

    found = [(fault.where, fault.what) for fault, _ in check(tmp_path, repair=False)]
    assert [where for where, _ in found] == ["runs/local/demo/r1", ".trash"]
    assert all(mended for _, mended in check(tmp_path, repair=True))
    assert check(tmp_path, repair=False) == []

    service = open_service(tmp_path, clock)
    shutil.copytree(tmp_path / "copy", left)
    assert remove_lost(service.store) == 1
    assert find_lost(service.store) == find_trash(tmp_path) == []
    assert names(service) == ["r2", "r3"]
    service.store.close()


def test_a_transaction_that_fails_moves_no_files(service: Service) -> None:
    make_sweep(service)
    make_run(service, "r1")
    run = service.store.run("local", "demo", "r1")
    assert run is not None

    def fail() -> None:
        drop_run(service.store, run)
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError), service.store.transaction():
        fail()
    assert names(service) == ["r1"]
    assert (service.store.folder("local", "demo", "r1") / "files" / "config.yaml").exists()


def test_the_floor_refuses_files_before_the_disk_is_full(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    Floor(tmp_path, 0).check(free * 2)
    Floor(tmp_path, free // 2).check(0)
    with pytest.raises(Refused, match=r"disk is full: \d+ MiB free, uploads leave") as refused:
        Floor(tmp_path, free // 2).check(free)
    assert refused.value.status == 503
    assert 0 < Floor(tmp_path).size <= 1 << 30


@pytest.mark.slow
def test_below_the_floor_rows_are_taken_and_files_are_not(tmp_path: Path) -> None:
    words = ("serve", "--port", "0", "--data", "served", "--min-free", "900t")
    with start_runner(*words, cwd=tmp_path) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with Player(url, (tmp_path / "served" / "key").read_text().strip()) as player:
            player.begin("r1")
            player.stream("r1", history(0, row(0, x=1)))
            with pytest.raises(GaveUpError, match=r"503 .*uploads leave"):
                player.upload("r1", {"a.txt": b"a"})
            found = player.ask('{project(name:"demo"){run(name:"r1"){historyLineCount}}}')
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=10)
    assert found["project"]["run"]["historyLineCount"] == 1
    assert not (tmp_path / "served" / "runs").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("12h", 43_200), ("1.5d", 1.5 * DAY), ("2 W", 14 * DAY)]
)
def test_an_age_has_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


def test_an_age_without_a_unit_is_refused() -> None:
    with pytest.raises(RunnerError, match="is not an age"):
        parse_age("30")


def test_nothing_is_deleted_where_nobody_can_be_asked() -> None:
    with pytest.raises(RunnerError, match="Nobody is here to answer"):
        confirm("Delete it?", yes=False)
    confirm("Delete it?", yes=True)
