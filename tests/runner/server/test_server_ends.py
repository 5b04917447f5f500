"""How a run ended: stream and agent, in every order in which their words can arrive."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from runner.server.ends import EndReport, begin_anew, hear_agent, hear_stream, read_report
from runner.server.records import Run, blank_run

RUN = replace(blank_run("local", "demo", "r1", 1.0), sweep="s1", agent="a1")
Word = Callable[[Run], Run]


def stream(code: int) -> Word:
    """The stream ends."""
    return lambda run: hear_stream(run, preempting=False, exit_code=code, now=9.0)


def rows(run: Run) -> Run:
    """The stream goes on."""
    return hear_stream(run, preempting=False, exit_code=None, now=9.0)


def preempting(run: Run) -> Run:
    """The program says `mark_preempting()`."""
    return hear_stream(run, preempting=True, exit_code=None, now=9.0)


def agent(code: int | None, cause: str | None, lines: Sequence[str] = ("boom",)) -> Word:
    """Our agent reports the end of the process."""
    signal = -code if code is not None and code < 0 else None
    report = EndReport("r1", code, signal, cause, tuple(lines) if cause else ())
    return lambda run: hear_agent(run, report, 9.0)


def hear(run: Run, words: Sequence[Word]) -> Run:
    """The run after all of these."""
    for word in words:
        run = word(run)
    return run


@pytest.mark.parametrize(
    ("stop", "words", "state", "code"),
    [
        # both agree
        (None, [stream(0), agent(0, None)], "finished", 0),
        (None, [stream(1), agent(1, "crash")], "failed", 1),
        (None, [stream(75), agent(75, "preempted")], "preempted", 75),
        # the exit code of the process decides
        (None, [stream(0), agent(1, "crash")], "failed", 1),
        (None, [stream(0), agent(65, "nan")], "failed", 65),
        (None, [stream(0), agent(2, "bad_config")], "failed", 2),
        (None, [stream(0), agent(-11, "signal")], "failed", None),
        (None, [stream(1), agent(0, None)], "finished", 0),
        (None, [stream(75), agent(1, "crash")], "failed", 1),
        (None, [stream(75), agent(0, None)], "finished", 0),
        (None, [stream(143), agent(143, "preempted")], "preempted", 143),
        (None, [stream(1), agent(-9, "preempted")], "preempted", 1),
        # what has finished is not run again
        (None, [stream(0), agent(75, "preempted")], "finished", 75),
        (None, [stream(0), agent(143, "preempted")], "finished", 143),
        (None, [preempting, stream(0), agent(1, "crash")], "failed", 1),
        (None, [preempting, stream(0), agent(0, None)], "finished", 0),
        # announced
        (None, [preempting, stream(1), agent(1, "crash")], "preempted", 1),
        (None, [preempting, agent(1, "crash")], "preempted", 1),
        (None, [preempting, stream(1)], "preempted", 1),
        # stopped by the sweep
        ("early", [stream(255), agent(-2, "signal")], "killed", 255),
        ("early", [stream(255), agent(1, "crash")], "killed", 1),
        ("early", [stream(0), agent(0, None)], "finished", 0),
        ("early", [stream(0), agent(0, "stopped")], "finished", 0),  # as older agents say it
        ("early", [stream(75), agent(75, "preempted")], "killed", 75),
        ("early", [preempting, stream(1), agent(1, "crash")], "killed", 1),
        ("early", [agent(None, "stopped")], "killed", None),
        ("early", [stream(255)], "killed", 255),
        ("early", [stream(75)], "killed", 75),
        (None, [agent(-15, "stopped")], "killed", None),
        # one of the two never speaks
        (None, [stream(0)], "finished", 0),
        (None, [stream(1)], "failed", 1),
        (None, [stream(75)], "preempted", 75),
        (None, [agent(0, None)], "finished", 0),
        (None, [agent(1, "crash")], "failed", 1),
        (None, [agent(-9, "signal")], "failed", None),
        (None, [agent(75, "preempted")], "preempted", 75),
        (None, [agent(None, "preempted")], "preempted", None),
        (None, [agent(127, "bad_config")], "failed", 127),
        (None, [stream(1), agent(1, "cuda_oom")], "failed", 1),
        (None, [agent(-9, "host_oom")], "failed", None),
        (None, [agent(-9, "of a later version")], "failed", None),
        # its GPU failed: another one goes on with it
        (None, [stream(1), agent(1, "gpu_fault")], "preempted", 1),
        (None, [agent(-9, "gpu_fault")], "preempted", None),
        (None, [stream(0), agent(1, "gpu_fault")], "finished", 1),
        (None, [stream(1), agent(1, "disk_full")], "preempted", 1),
        # it was interrupted because its time was over, whatever it said then
        (None, [stream(0), agent(0, "timeout")], "failed", 0),
        (None, [stream(75), agent(75, "timeout")], "failed", 75),
        ("early", [stream(0), agent(0, "timeout")], "failed", 0),
    ],
)
def test_the_order_in_which_the_words_arrive_does_not_matter(
    stop: str | None, words: list[Word], state: str, code: int | None
) -> None:
    for order in itertools.permutations(words):
        for late in ([], [rows], [rows, *order]):  # rows that were on their way; all of it again
            for before in (RUN, replace(RUN, state="crashed", ended=5.0)):
                run = hear(replace(before, stop=stop), [*order, *late])

                assert (run.state, run.exit_code) == (state, code)
                assert run.ended == (5.0 if before.ended else 9.0)


@pytest.mark.parametrize("words", [[stream(0), agent(1, "crash")], [agent(1, "crash"), stream(0)]])
def test_the_reason_is_kept_and_so_is_all_that_was_logged(words: list[Word]) -> None:
    before = replace(RUN, summary='{"loss":1}', history_rows=3, last_step=2, best=1.0)

    run = hear(before, words)

    failure = json.loads(run.failure or "{}")
    assert failure == {
        "class": "crash",
        "signal": None,
        "exit_code": 1,
        "lines": ["boom"],
        "detail": None,
    }
    kept = ("summary", "history_rows", "last_step", "best", "suggested")
    assert [getattr(run, name) for name in kept] == [getattr(before, name) for name in kept]


@pytest.mark.parametrize(
    ("cause", "told"), [("signal", "crash"), ("host_oom", "host_oom"), (None, "crash")]
)
def test_a_class_that_is_not_known_is_a_crash(cause: str | None, told: str) -> None:
    failed = hear(RUN, [agent(-9, cause)])

    assert json.loads(failed.failure or "{}")["class"] == told


@pytest.mark.parametrize("cause", ["gpu_fault", "disk_full"])
def test_a_run_whose_machine_failed_says_so_until_another_goes_on(cause: str) -> None:
    back = hear(RUN, [agent(-9, cause)])

    assert json.loads(back.failure or "{}")["class"] == cause
    assert begin_anew(back).failure is None


def test_peaks_of_memory_are_kept_with_the_report() -> None:
    sizes = {"host_peak_bytes": 5, "gpu_peak_bytes": 1 << 40}
    report = EndReport.read({"run": "r1", "exit_code": 0, "class": None, **sizes, "detail": None})
    assert report is not None

    kept = read_report(hear_agent(RUN, report, 9.0))

    assert kept == report
    odd = EndReport.read({"run": "r", "host_peak_bytes": -1, "gpu_peak_bytes": "x", "detail": 3})
    assert odd == EndReport("r", None, None, None, ())


def test_only_a_failed_run_has_a_reason() -> None:
    assert hear(RUN, [agent(1, "crash"), preempting]).failure is None
    assert hear(replace(RUN, stop="early"), [agent(1, "crash")]).failure is None
    assert hear(RUN, [agent(75, "preempted")]).failure is None


def test_a_run_outside_of_a_sweep_is_not_taken_back() -> None:
    assert hear(replace(RUN, sweep=None), [stream(75)]).state == "failed"


def test_a_run_that_goes_on_is_as_if_nothing_had_been_said_of_its_end() -> None:
    ended = hear(RUN, [stream(0), agent(1, "crash")])

    again = replace(begin_anew(ended), state="running")

    assert (again.exit_code, again.failure, again.ended) == (None, None, None)
    assert hear(again, [stream(0)]).state == "finished"
    assert hear(again, [stream(1), agent(0, None)]).state == "finished"


def test_a_pending_run_hears_of_the_attempt_before_only_that_it_had_finished() -> None:
    """It was handed out again and has not begun."""
    waits = replace(begin_anew(hear(RUN, [agent(75, "preempted")])), state="pending", attempts=2)

    assert hear(waits, [rows]) == hear(waits, [stream(75)]) == hear(waits, [preempting]) == waits
    assert hear(waits, [agent(75, "preempted")]) == waits  # repeated
    assert hear(waits, [stream(0)]).state == "finished"
    assert hear(waits, [agent(None, "preempted")]).state == "preempted"  # given back
    assert hear(replace(waits, seen=1), [agent(75, "preempted")]).state == "preempted"


def test_a_report_that_is_not_one_is_left_out() -> None:
    assert [EndReport.read(raw) for raw in (None, 1, {}, {"run": 3})] == [None] * 4
    odd = EndReport.read({"run": "r", "exit_code": "x", "signal": 2.5, "class": 1, "lines": "no"})
    assert odd == EndReport("r", None, None, None, ())
    long = EndReport.read({"run": "r", "lines": ["x" * 5000] * 30})
    assert long is not None
    assert (len(long.lines), len(long.lines[0])) == (20, 2000)
