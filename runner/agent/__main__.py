"""`python -m runner.agent`, or the bundle of it in a container.

With no argument the environment says all (docs/container.md); `compose` is for agents of Compose,
whose environment is completed first.
"""

import sys

from runner.agent.contract.commands import BY_COMPOSE


def main() -> int:
    """The agent's exit code."""
    if sys.argv[1:] == [BY_COMPOSE]:
        from runner.agent.compose_entry import main as work
    else:
        from runner.agent.entry import main as work
    return work()


if __name__ == "__main__":
    sys.exit(main())
