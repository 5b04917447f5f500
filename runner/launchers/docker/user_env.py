"""The user's variables for runs."""

from collections.abc import Mapping

from runner.agent.contract import variables
from runner.errors import ExitCode, RunnerError


def check_env(env: Mapping[str, str] | None) -> Mapping[str, str]:
    """Check the user's variables against those that the contract sets or keeps secret.

    Raises:
        RunnerError: one would be lost, or would show a key in `docker inspect` (2).
    """
    env = env or {}
    if fixed := sorted(name for name in env if variables.is_reserved(name)):
        raise RunnerError(
            f"runner sets `{fixed[0]}` in every agent; `--env` and `[run] env` cannot change it",
            hint="`--gpus`, `--sweep`, `--server` and `--pin` do",
            code=ExitCode.USAGE,
        )
    if variables.API_KEY in env:
        raise RunnerError(
            f"`{variables.API_KEY}` as `--env` or `[run] env` would show in `docker inspect`",
            hint="leave it out: each run gets the key of its server from a file",
            code=ExitCode.USAGE,
        )
    return env
