"""`python -m runner.agent`, or the bundle of it in a container.

With no argument the environment says all (docs/container.md); `compose` is for agents of Compose,
whose environment is completed first; `run` runs one command without a sweep.
"""

import sys

from runner.agent.contract.commands import BY_COMPOSE, ONE_COMMAND


def main() -> int:
    """The agent's exit code."""
    if sys.argv[1:] == [BY_COMPOSE]:
        from runner.agent.compose_entry import main as work
    elif sys.argv[1:] == [ONE_COMMAND]:
        from runner.agent.one_command import main as work
    else:
        from runner.agent.entry import main as work
    return work()


if __name__ == "__main__":
    sys.exit(main())
