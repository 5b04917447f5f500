"""A process that sends some staged logs by W&B's own `wandb sync`, and dies with its parent."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """`python -m runner.offline.worker PARENT LOG…`."""
    parent, *logs = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the request above
        return
    from wandb.cli.cli import cli

    cli(["sync", "--include-online", "--include-synced", "-n", "5", *logs])


if __name__ == "__main__":
    main()
