"""How a run ended, in words: the same in `ps`, `sweep show` and `--follow`."""

from collections.abc import Mapping, Sequence

from runner.agent.contract.failures import read_class
from runner.agent.contract.status import LastRun
from runner.console import format_bytes


def describe_failure(failure: Mapping[str, object]) -> str:
    """`cuda_oom, exit code 1`, `timeout (it has run for 60 s), killed by signal 9`."""
    detail, signal, code = (failure.get(key) for key in ("detail", "signal", "exit_code"))
    kind = read_class(failure.get("class")) + (f" ({detail})" if detail else "")
    if signal:
        return f"{kind}, killed by signal {signal}"
    return kind if code is None else f"{kind}, exit code {code}"


def find_last_words(lines: object) -> str | None:
    """The program's own last line, which is not one of W&B's client."""
    said = [str(line).strip() for line in lines] if isinstance(lines, list) else []
    own = [line for line in said if line and not line.startswith("wandb:")]
    return own[-1] if own else None


def describe_last(last: LastRun) -> str | None:
    """The failure of the run that an agent ended last; None if it did not fail."""
    if last.failure in (None, "stopped", "preempted"):
        return None
    known = {"class": last.failure, "signal": last.signal, "exit_code": last.exit_code}
    line = f": {last.line}" if last.line else ""
    return f"last run {last.id}: {describe_failure(known)}{line}"


def describe_peaks(host_bytes: int | None, gpu_bytes: int | None) -> Sequence[str]:
    """`host 1.2 GiB`, `GPU 40 GiB`: the most that a run held."""
    known = (("host", host_bytes), ("GPU", gpu_bytes))
    return [f"{name} {format_bytes(count)}" for name, count in known if count is not None]
