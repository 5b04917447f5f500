"""A process that sends staged logs with W&B's own `wandb sync`, and ends with its parent.

It starts before there is anything to send, because importing the client takes the longest. Each
line on the given socket is an order: the client's environment, and the logs. It answers with a byte
when it has carried out the order, with any outcome.
"""

import ctypes
import json
import os
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """`python -m runner.offline.sender_process PARENT SOCKET`."""
    parent, handle = map(int, sys.argv[1:])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request above
        return
    from click import ClickException
    from wandb.cli.cli import cli

    os.set_inheritable(handle, False)
    orders = socket.socket(fileno=handle)
    for line in orders.makefile():
        order = json.loads(line)
        os.environ.update(order["environ"])
        try:
            cli(["sync", *order["options"], *order["logs"]], standalone_mode=False)
        except ClickException as error:
            error.show()
        sys.stdout.flush()
        orders.sendall(b".")


if __name__ == "__main__":
    main()
