"""Limits for how far a value travels, and tests of the script that measures it."""

from pathlib import Path

import pytest

from tests.house.follow import ROOT, Room, Trail, list_climbs, list_modules, read_room
from tests.house.layers import Layers
from tests.house.model import House

REQUEST = "runner.usecases.up.request:bring_up:request"
ROW = "runner.server.stream:_take_history:chunk"
READ_BACK = {"runner.server.sums", "runner.server.pages"}  # read back for the page


@pytest.mark.slow
def test_the_request_of_up_stays_within_fifteen_modules() -> None:
    trail = Trail(House(ROOT, "runner"))

    rooms, calls = trail.follow(read_room(REQUEST))

    modules = list_modules(trail, rooms)
    assert {"runner.engine.payload", "runner.fleet.plan"} <= modules.keys()  # it sees the ends
    assert len(modules) <= 15
    assert len(list_climbs(calls, Layers(ROOT))) <= 5


@pytest.mark.slow
def test_a_metric_row_passes_eight_modules_from_the_stream_to_the_page() -> None:
    trail = Trail(House(ROOT, "runner"), parts=True)

    rooms, _ = trail.follow(read_room(ROW))

    modules = list_modules(trail, rooms).keys()
    assert {"runner.server.lines", "runner.server.database"} <= modules
    assert len(modules | READ_BACK) <= 8


A = """
from pkg.b import Box, keep, Worker, plain
def start(value: Box, other: Box):
    mine = keep(value)
    worker = Worker(part=mine, other=other)
    worker.go()
    run(other)
    plain(value.name)
    size = len(value.name)
    unseen(size)
def run(it): ...
def unseen(it): ...
"""
B = """
from dataclasses import dataclass
from pkg.c import reached, missed
@dataclass
class Box:
    name: str
def keep(it):
    return [it]
def plain(name: str):
    missed(name)
@dataclass
class Worker:
    part: Box
    other: Box
    def go(self):
        found = []
        found.append(self.part)
        reached(found)
        missed(self.other)
"""
C = "def reached(it): ...\ndef missed(it): ...\n"


@pytest.mark.parametrize("parts", [False, True])
def test_it_follows_what_holds_the_value_and_nothing_else(tmp_path: Path, parts: bool) -> None:
    (tmp_path / "pkg").mkdir()
    for name, text in {"a": A, "b": B, "c": C}.items():
        (tmp_path / "pkg" / f"{name}.py").write_text(text)
    trail = Trail(House(tmp_path, "pkg"), parts=parts)

    rooms, _ = trail.follow(Room("pkg.a", "start", "value"))

    assert list_modules(trail, rooms) == {
        "pkg.a": {"start"},
        "pkg.b": {"keep", "Worker", "Worker.go"} | ({"plain"} if parts else set()),
        "pkg.c": {"reached"} | ({"missed"} if parts else set()),
    }
