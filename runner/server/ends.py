"""How a run ended, from what its stream says and what our agent reports. Pure.

The two arrive in any order, or one of them never. Each is kept as it came; the run's state follows
from both, so it is the same in whichever order they came:

- Where our agent reports the end of the process, its exit code decides.
- Where it does not, the exit code of the stream's end decides.
- A run whose stream ended as finished is never preempted: nobody runs it again.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from runner.agent.contract import exits
from runner.agent.contract.failures import POLICIES, read_class
from runner.run_states import RunState
from runner.server.records import Run, replace
from runner.server.wire import dumps

MAX_LINES = 20  # log lines kept of a failed run
MAX_LINE_LENGTH = 2000
OF_MACHINE = ("gpu_fault", "disk_full")
RUN_ME_AGAIN = exits.RUN_PREEMPTED  # a program's exit code: saved, and not done


@dataclass(frozen=True, slots=True)
class EndReport:
    """Our agent's report of a process that ended (W&B's agent sends none)."""

    run: str
    exit_code: int | None
    signal: int | None
    cause: str | None  # a `FailureClass`, or `signal` of earlier versions
    lines: tuple[str, ...]
    detail: str | None = None  # more than the exit code says, for people
    host_peak_bytes: int | None = None
    gpu_peak_bytes: int | None = None

    @property
    def clean(self) -> bool:
        """Exit code 0 and no signal."""
        return self.exit_code == 0 and self.signal is None

    @classmethod
    def read(cls, raw: object) -> Self | None:
        """An entry of `ended` in a heartbeat's metrics; None where it is not one."""
        if not isinstance(raw, dict) or not isinstance(raw.get("run"), str):
            return None
        code, signal, cause = raw.get("exit_code"), raw.get("signal"), raw.get("class")
        lines, detail = raw.get("lines"), raw.get("detail")
        return cls(
            raw["run"],
            code if _is_small(code) else None,
            signal if _is_small(signal) else None,
            cause if isinstance(cause, str) else None,
            tuple(str(one)[:MAX_LINE_LENGTH] for one in lines[-MAX_LINES:])
            if isinstance(lines, list)
            else (),
            detail[:MAX_LINE_LENGTH] if isinstance(detail, str) else None,
            _read_size(raw.get("host_peak_bytes")),
            _read_size(raw.get("gpu_peak_bytes")),
        )


def _is_small(value: object) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 31


def _read_size(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        return None
    return value


def read_report(run: Run) -> EndReport | None:
    """What our agent has reported of the run's end."""
    if run.report is None:
        return None
    known = json.loads(run.report)
    return EndReport(**{**known, "lines": tuple(known["lines"])})


def hear_stream(run: Run, *, preempting: bool, exit_code: int | None, now: float) -> Run:
    """The run after a POST of its stream.

    Args:
        run: as it was.
        preempting: the program has announced that it will be interrupted, and goes on later.
        exit_code: of the stream's end; None: it goes on.
        now: the time.
    """
    if run.state == "pending" and run.attempts > 1:  # the last words of the attempt before
        return _conclude(replace(run, stream_code=0), now) if exit_code == 0 else run
    if preempting:
        run = replace(run, preempting=1)
    if exit_code is not None:
        run = replace(run, stream_code=exit_code)
    if run.stream_code is not None or run.report is not None:
        return _conclude(run, now)
    return replace(run, state="preempting") if preempting and run.state == "running" else run


def hear_agent(run: Run, report: EndReport, now: float) -> Run:
    """The run after its agent's report; the same report twice changes nothing more."""
    told = dumps(asdict(report))
    if told == run.report_before and run.state == "pending" and not run.seen:
        return run  # repeated, and of the attempt before this one
    return _conclude(replace(run, report=told), now)


def begin_anew(run: Run) -> Run:
    """The run without what was said of its end: it goes on."""
    return replace(
        run,
        stream_code=None,
        preempting=0,
        report=None,
        report_before=run.report or run.report_before,
        exit_code=None,
        failure=None,
        ended=None,
        stop=None,
        stop_at=None,
        lost=0,
    )


def _conclude(run: Run, now: float) -> Run:
    """The run as follows from what is known of its end."""
    report = read_report(run)
    state = _state_by_stream(run) if report is None else _state_by_report(run, report)
    code = run.stream_code
    if report is not None and report.exit_code is not None:
        code = (code or None) if report.signal else report.exit_code
    return replace(
        run,
        state=state,
        exit_code=code,
        failure=_failure(report) if report is not None and _is_told(report, state) else None,
        ended=now if run.ended is None else run.ended,
        lost=0,
    )


def _state_by_stream(run: Run) -> RunState:
    if run.stream_code == 0:
        return "finished"
    if run.stop:
        return "killed"
    again = run.stream_code == RUN_ME_AGAIN and run.sweep is not None
    return "preempted" if run.preempting or again else "failed"


def _state_by_report(run: Run, report: EndReport) -> RunState:
    goes_back = report.cause is not None and POLICIES[read_class(report.cause)].run == "goes back"
    if report.cause == "timeout":  # whatever its program said then: it was not done
        return "failed"
    if report.clean or (goes_back and run.stream_code == 0):
        return "finished"
    if run.stop or report.cause == "stopped":  # what the sweep has stopped does not go on
        return "killed"
    if goes_back or (run.preempting and run.stream_code != 0):
        return "preempted"
    return "failed"


def _is_told(report: EndReport, state: RunState) -> bool:
    """Whether the run's page gives the reason: it failed, or its machine did."""
    return state == "failed" or (state == "preempted" and report.cause in OF_MACHINE)


def _failure(report: EndReport) -> str:
    return dumps(
        {
            "class": read_class(report.cause),
            "signal": report.signal,
            "exit_code": report.exit_code,
            "lines": report.lines,
            "detail": report.detail,
        }
    )
