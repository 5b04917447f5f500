"""Curves for pictures: few points, the extremes kept."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.server import seal
from runner.server.curves import read_curve
from runner.server.records import Run, blank_run
from runner.server.service import Service
from tests.runner.server.servers import CREATE, GRID, Clock, Server, history, open_service, stream
from tests.runner.server.test_server_app import raw, with_key


@pytest.fixture
def service(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """One whose sealed chunks are small."""
    monkeypatch.setattr(seal, "CHUNK_LINES", 100)
    monkeypatch.setattr(seal, "LOOSE_LINES", 100)
    service = open_service(tmp_path, clock)
    service.store.put(blank_run("local", "demo", "r1", 1.0))
    yield service
    service.store.close()


def stored(service: Service) -> Run:
    run = service.store.run("local", "demo", "r1")
    assert run is not None
    return run


def log(service: Service, count: int, size: int = 30) -> None:
    """A slow wave with one needle; `sparse` in every tenth row, once not finite, once a text."""
    lines = []
    for step in range(count):
        row: dict[str, object] = {"_step": step, "n": {"wave": math.sin(step / 100)}}
        if step == count // 3:
            row["n"] = {"wave": 50.0}
        if step % 10 == 0:
            row["sparse"] = {0: "NaN", 10: "text"}.get(step, step)
        lines.append(json.dumps(row))
    for at in range(0, count, size):
        stream(service, "r1", history(at, *lines[at : at + size]))


@pytest.mark.parametrize("sealed", [False, True])
def test_a_curve_keeps_its_extremes_however_few_points_it_has(
    service: Service, *, sealed: bool
) -> None:
    log(service, 1010)
    if sealed:
        seal.seal_all(service.store, stored(service))
        assert stored(service).sealed == 990  # the rest is too little

    curve = read_curve(service.store, stored(service), "n.wave", points=40)

    assert (curve.count, len(curve.steps), len(curve.values)) == (1010, 40, 40)
    assert (curve.steps[0], curve.steps[-1]) == (0, 1009)
    assert curve.steps == sorted(set(curve.steps))
    assert max(curve.high) == 50.0 == max(curve.values)
    assert min(curve.low) == pytest.approx(-1, abs=1e-3)
    assert curve.node()["min"] == min(curve.low)


@pytest.mark.parametrize("sealed", [False, True])
def test_only_finite_numbers_are_points(service: Service, *, sealed: bool) -> None:
    log(service, 300)
    if sealed:
        seal.seal_all(service.store, stored(service))

    curve = read_curve(service.store, stored(service), "sparse", within=(5, 250))
    missing = read_curve(service.store, stored(service), "nothing")

    assert curve.steps == list(range(20, 251, 10))
    assert curve.values == curve.low == curve.high == [float(step) for step in curve.steps]
    assert (missing.count, missing.steps, missing.node()["max"]) == (0, [], None)


@pytest.mark.slow
def test_a_real_server_seals_by_itself_and_shows_curves(server: Server) -> None:
    sweep = server.ask(CREATE, i={"config": GRID, "projectName": "curves"})["upsertSweep"]["sweep"]
    make = "mutation($i: X){upsertBucket(input:$i){inserted}}"
    server.ask(make, i={"name": "c1", "modelName": "curves", "sweep": sweep["name"]})
    rows = [json.dumps({"_step": step, "loss": 1000 - step}) for step in range(1500)]
    for at in range(0, 1500, 10):
        body = history(at, *rows[at : at + 10])
        assert server.request("/files/local/curves/c1/file_stream", body)[0] == 200
    fields = "key count steps values low high min max"
    series = f'series(keys:["loss","x"], points: 50) {{{fields}}}'
    query = f'{{project(name:"curves"){{run(name:"c1"){{{series}}}}}}}'

    loss, nothing = server.ask(query)["project"]["run"]["series"]

    assert (loss["count"], len(loss["steps"]), loss["min"], loss["max"]) == (1500, 50, -499, 1000)
    assert nothing["count"] == 0
    page = raw(server, "GET", f"/sweeps/local/curves/{sweep['name']}", **with_key(server))[1]
    assert b"best so far -499" in page
    found = server.ask('{project(name:"curves"){run(name:"c1"){history historyKeys}}}')
    assert found["project"]["run"]["history"] == rows
    counts = found["project"]["run"]["historyKeys"]["keys"]["loss"]["typeCounts"]
    assert counts == [{"type": "number", "count": 1500}]
