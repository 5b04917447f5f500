"""A run's lines: kept as they were sent, known by their steps, cut."""

from dataclasses import replace

import pytest

from runner.server.lines import CHUNK_BYTES, CHUNK_LINES
from runner.server.records import Run, blank_run
from runner.server.service import Service
from tests.runner.server.servers import history, row, stream


@pytest.fixture
def run(service: Service) -> Run:
    run = blank_run("local", "demo", "r1", 1.0)
    service.store.put(run)
    return run


def chunks(service: Service) -> list[int]:
    """How many lines each chunk of the history has."""
    sql = "select count from chunk where run='r1' and kind='history' order by first"
    return [count for (count,) in service.store.database.execute(sql)]


@pytest.mark.parametrize(
    "lines",
    [
        ["a", "", "b"],
        ["\ud800 alone", "ü\u2028\u0085\x1c", "𝄞", "\x00"],
        [str(at) for at in range(CHUNK_LINES + 1)],
        ["x" * CHUNK_BYTES, "y", "z" * (CHUNK_BYTES + 5), "w"],
    ],
)
def test_lines_come_back_as_they_were(service: Service, run: Run, lines: list[str]) -> None:
    with service.store.transaction():
        for _ in range(2):
            service.store.lines.append(run, "output", lines)

    assert list(service.store.lines.read(run, "output")) == lines * 2
    assert service.store.lines.read_last(run, "output") == lines[-1]


def test_what_is_large_lies_in_several_chunks(service: Service, run: Run) -> None:
    lines = [row(step) for step in range(2 * CHUNK_LINES + 3)]
    stream(service, run.id, history(0, *lines))

    assert chunks(service) == [CHUNK_LINES, CHUNK_LINES, 3]
    assert service.history(run) == lines


@pytest.mark.parametrize("posts", [1, 7])
def test_rows_that_are_sent_again_in_any_order_are_known(
    service: Service, run: Run, posts: int
) -> None:
    steps = [5, 6, 9, 7, None, 20, 3]
    lines = [row(step) if step is not None else '{"free":1}' for step in steps]
    size = -(-len(lines) // posts)
    for at in range(0, len(lines), size):
        stream(service, run.id, history(at, *lines[at : at + size]))
    again = [row(step) for step in (7, 20, 8, 3, 8)]

    stream(service, run.id, history(len(lines), *again))

    assert service.history(run) == [*lines, row(8)]
    found = service.store.run("local", "demo", "r1")
    assert found is not None
    assert (found.history_rows, found.last_step) == (8, 20)


@pytest.mark.parametrize("kept", [0, 1, 3, 5, 6])
def test_a_cut_history_goes_on_behind_the_cut(service: Service, run: Run, kept: int) -> None:
    for first in (0, 3):
        lines = [row(step) for step in range(first, first + 3)]
        stream(service, run.id, history(first, *lines))
    with service.store.transaction():
        service.store.lines.cut(run, kept)
        found = service.store.run("local", "demo", "r1")
        assert found is not None
        last = service.store.lines.last_step(run)
        service.store.put(replace(found, history_rows=kept, last_step=last))

    stream(service, run.id, history(kept, *(row(step) for step in range(8))))

    assert service.history(run) == [row(step) for step in range(8)]
