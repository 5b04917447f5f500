"""How our agent says that a run's process ended, and what the run is then. Pure."""

from dataclasses import asdict, dataclass, replace

from runner.server.records import LIVE, Run, RunState
from runner.server.wire import dumps

MOST_LINES = 20  # log lines kept of a failed run
LONGEST_LINE = 2000


@dataclass(frozen=True, slots=True)
class Ended:
    """Our agent's account of a process that ended (upstream sends none)."""

    run: str
    exit_code: int | None
    signal: int | None
    cause: str | None  # "crash", "signal", "stopped", "bad_config", "nan", "preempted"
    lines: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Exit code 0 and no signal."""
        return self.exit_code == 0 and self.signal is None


def read_account(raw: object) -> Ended | None:
    """An entry of `ended` in a heartbeat's metrics; none where it is none."""
    if not isinstance(raw, dict) or not isinstance(raw.get("run"), str):
        return None
    code, signal, cause = raw.get("exit_code"), raw.get("signal"), raw.get("class")
    lines = raw.get("lines")
    return Ended(
        raw["run"],
        code if isinstance(code, int) else None,
        signal if isinstance(signal, int) else None,
        cause if isinstance(cause, str) else None,
        tuple(str(one)[:LONGEST_LINE] for one in lines[-MOST_LINES:])
        if isinstance(lines, list)
        else (),
    )


def settle(run: Run, account: Ended, now: float) -> Run:
    """The run after its agent's account; the same account twice changes nothing more. Pure.

    A stream that closed with an exit code has said how the run ended; the account then only adds
    the cause, or that the run wants to go on. Otherwise a death by signal or another exit code than
    0 is a failure, unless the run was stopped on purpose.
    """
    told = dumps(asdict(account))
    if told == run.account and run.state == "pending" and not run.seen:
        return run  # a late word of the attempt before this one
    run = replace(run, account=told)
    if run.state in LIVE or (run.state == "failed" and _goes_back(run, account)):
        run = replace(run, state=_state_of(run, account), ended=now, lost=0)
        if run.exit_code is None and account.signal is None:
            run = replace(run, exit_code=account.exit_code)
    elif run.state == "crashed":  # called so while its agent was away
        run = replace(run, state=_state_of(run, account))
    if run.state in ("failed", "crashed") and account.cause != "stopped" and not account.clean:
        return replace(run, failure=_failure(account))
    return run


def _state_of(run: Run, account: Ended) -> RunState:
    if _goes_back(run, account) or (run.state == "preempting" and not account.clean):
        return "preempted"
    if account.cause in ("stopped", "preempted"):
        return "killed"
    if account.clean:
        return "finished"
    return "killed" if run.stop else "failed"


def _goes_back(run: Run, account: Ended) -> bool:
    """Interrupted from outside; what the sweep itself has stopped does not go on."""
    return account.cause == "preempted" and run.stop is None


def _failure(account: Ended) -> str:
    return dumps(
        {
            "class": account.cause or ("signal" if account.signal else "crash"),
            "signal": account.signal,
            "exit_code": account.exit_code,
            "lines": account.lines,
        }
    )
