"""One command without a sweep, on all GPUs of its container: `runner run`.

The leases are taken in the order of their UUIDs, as everybody does who takes several. The command
has the container's own input and output; signals go on to it, and its exit code comes back.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from runner.agent.contract import exits, limits, variables
from runner.agent.contract.commands import NO_SWEEP
from runner.agent.contract.slots import SlotId, parse_slots
from runner.agent.contract.status import SeenSlot, Status
from runner.agent.entry import fill_workspace, write_refusal
from runner.agent.gpu import check_gpus
from runner.agent.launch import make_common_environ
from runner.agent.lease import Lease
from runner.agent.leaving import refused
from runner.agent.owner import become_caller
from runner.agent.refusals import RefusedError, describe_os_error
from runner.agent.report import StatusFile, say
from runner.agent.settings import AgentSettings, read_settings
from runner.agent.wandb_settings import write_wandb_settings

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
FROM_TERMINALS = (signal.SIGINT, signal.SIGQUIT)  # a terminal sends them to the command as well
NOT_FOUND, NOT_EXECUTABLE = exits.RUN_NOT_STARTED, 126  # as a shell has them
BY_SIGNAL = 128


def main() -> int:
    """Run the command of the environment; its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own would end in a traceback
    try:
        become_caller(os.environ)
        slots, settings = read_command_settings(os.environ)
    except RefusedError as error:
        say(error.reason)
        write_refusal(os.environ, error.reason)
        return exits.AGENT_REFUSED
    status = StatusFile(settings.status_dir, _first_status(settings, slots))
    status.update(state="starting")
    try:
        code = _work(settings, slots, status)
    except RefusedError as error:
        left = refused(error.reason)
        say(f"{left.state}: {left.reason}")
        status.update(state=left.state, reason=left.reason, exit_code=left.exit_code)
        return left.exit_code
    ended_by = f"killed by signal {code - BY_SIGNAL}" if code > BY_SIGNAL else f"exit code {code}"
    state, reason = ("failed", ended_by) if code else ("finished", None)
    status.update(state=state, reason=reason, exit_code=code)
    return code


def read_command_settings(
    environ: Mapping[str, str],
) -> "tuple[tuple[SlotId, ...], AgentSettings]":
    """All slots, and the settings that the command shares with agents.

    Raises:
        RefusedError: something is missing or makes no sense; the reason names the variable.
    """
    text = environ.get(variables.SLOT, "")
    try:
        slots = parse_slots(text)
    except ValueError as error:
        raise RefusedError(f"`{variables.SLOT}`: {error}") from error
    place = (environ.get(variables.ENTITY, ""), environ.get(variables.PROJECT, ""), NO_SWEEP)
    first = {variables.SWEEP: "/".join(place), variables.SLOT: slots[0].text}
    settings = read_settings({**environ, **first})
    if not settings.command:
        raise RefusedError(f"`{variables.COMMAND}` is not set")
    return slots, settings


def _work(settings: AgentSettings, slots: Sequence[SlotId], status: StatusFile) -> int:
    gpus = [slot for slot in slots if not slot.is_cpu]
    if gpus:
        status.update(gpus=_look(gpus))
    leases = take_leases(settings.leases, gpus)
    fill_workspace(settings)
    write_wandb_settings(settings, os.environ)
    env = make_common_environ(os.environ, settings, settings.agent)
    Path(env[variables.CHECKPOINT_DIR]).mkdir(parents=True, exist_ok=True)
    if not settings.offline:
        env[variables.API_KEY] = settings.key
    assert settings.command  # noqa: S101 - it was looked at
    process = _start(settings.command, settings.workspace, env, leases)
    if isinstance(process, int):
        return process
    _pass_signals_on(process)
    status.update(state="running")
    while not _has_ended(process, limits.STATUS_EVERY_S):
        status.write()
        for lease in leases:
            lease.touch()
    return BY_SIGNAL - process.returncode if process.returncode < 0 else process.returncode


def take_leases(folder: Path, gpus: Sequence[SlotId]) -> Sequence[Lease]:
    """Lock all of these GPUs, in the order of their UUIDs; those already taken end with us.

    Raises:
        RefusedError: somebody else holds one.
    """
    ordered = sorted(gpus, key=lambda slot: slot.text)
    return [Lease.take(folder, slot.text, mounted=True) for slot in ordered]


def _look(gpus: Sequence[SlotId]) -> "tuple[SeenSlot, ...]":
    from runner.agent.nvml import read_sight  # slow, and a CPU slot does not need it

    return tuple(SeenSlot(gpu.uuid, gpu.name) for gpu in check_gpus(read_sight().gpus, gpus))


def _start(
    command: Sequence[str], folder: Path, env: Mapping[str, str], leases: Sequence[Lease]
) -> "subprocess.Popen[bytes] | int":
    """The process, or the exit code that a shell gives for a command that does not start."""
    handles = [lease.handle for lease in leases]
    try:
        return subprocess.Popen(command, cwd=folder, env=env, pass_fds=handles)
    except OSError as error:
        say(f"cannot start `{command[0]}`: {describe_os_error(error)}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


def _has_ended(process: "subprocess.Popen[bytes]", within_s: float) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _pass_signals_on(process: "subprocess.Popen[bytes]") -> None:
    in_terminal = sys.stdin is not None and sys.stdin.isatty()

    def pass_on(number: int, _frame: "FrameType | None") -> None:
        with suppress(ProcessLookupError):
            process.send_signal(number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    for number in FROM_TERMINALS:
        signal.signal(number, signal.SIG_IGN if in_terminal else pass_on)


def _first_status(settings: AgentSettings, slots: Sequence[SlotId]) -> Status:
    return Status(
        agent=settings.agent,
        container=settings.container,
        pid=os.getpid(),
        sweep="",
        gpu=SeenSlot(slots[0].text),
        gpus=tuple(SeenSlot(slot.text) for slot in slots),
    )
