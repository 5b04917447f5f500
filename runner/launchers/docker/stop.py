"""Stop agents, and report what happened to their runs."""

from runner.agent.contract import limits
from runner.agent.contract.exits import AGENT_KILLED
from runner.engine.client import Engine
from runner.errors import RunnerError
from runner.fleet.carry_out import Result
from runner.fleet.plan import Action
from runner.guard.walk import is_empty, walk
from runner.launchers.docker.command import release_gpus
from runner.state.folder import State


def stop_agent(engine: Engine, state: State, action: Action, *, grace_s: int) -> Result:
    """Stop one agent; the result says what happened to its run."""
    if action.do != "stop" or action.old is None:
        return Result(action, "done")
    run = action.old.running_run
    try:
        code = engine.stop(action.old.container, grace_s=grace_s + limits.STOP_MARGIN_S)
    except RunnerError as error:
        return Result(action, "failed", error)
    if action.old.command is not None:
        release_gpus(engine, action.old.container)
    if code is None:
        return Result(action, "done", detail="it was gone already")
    how = "killed after the grace period, " if code == AGENT_KILLED else ""
    saved = f"; {_describe_checkpoint(state, run)}" if run else ""
    return Result(action, "done", detail=f"{how}exit code {code}{saved}")


def _describe_checkpoint(state: State, run: str) -> str:
    try:
        with walk(state.root, "checkpoints", run) as folder:
            kept = not is_empty(folder)
    except (OSError, RunnerError):  # no checkpoint, or something else in its place
        kept = False
    return f"run {run} left {'a' if kept else 'no'} checkpoint"
