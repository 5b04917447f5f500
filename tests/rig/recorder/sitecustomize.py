"""On a program's `PYTHONPATH`: writes down beside this file how it was started.

A hook sees the first code that is neither Python's nor an installed package's. A process that was
forked inherits it: so does a run that starts warm.
"""

import json
import os
import sys
from typing import Any

FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - in any Python, at once
LIBRARIES = ("/lib/python3", "/site-packages/", "/dist-packages/")
written: set[int] = set()


def record(event: str, arguments: tuple[Any, ...]) -> None:
    """Write it down at the first code of this process's program."""
    if event != "exec" or os.getpid() in written:
        return
    file = arguments[0].co_filename
    if file.startswith(("<", FOLDER)) or any(one in file for one in LIBRARIES):
        return
    written.add(os.getpid())
    found = {
        "file": file,
        "argv": list(sys.argv),
        "command": list(sys.orig_argv),
        "folder": os.getcwd(),  # noqa: PTH109 - as above
        "environ": dict(os.environ),
    }
    name = f"{os.environ.get('HOSTNAME', '')}-{os.getpid()}-{len(written)}.json"
    with open(os.path.join(FOLDER, "seen", name), "x") as stream:  # noqa: PTH118, PTH123 - as above
        json.dump(found, stream)


sys.addaudithook(record)
