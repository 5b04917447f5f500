"""`python -m tests.chaos.open_folder DATA`: opens a data folder as a server does when it starts.

Again and again in one process, since the start of a process takes longer than all its writes.
It prints why each try failed.
"""

import os
import sys
from contextlib import closing
from pathlib import Path

from runner.errors import RunnerError
from runner.server.access import url_secret
from runner.server.folder import locked, read_key
from runner.server.store import Store
from tests.chaos.faults import Steering


def main(data: Path) -> None:
    """Until it succeeds."""
    steering = Steering(Path(os.environ["FAULTS_CONTROL"]))
    while True:
        steering.note_try(0)
        try:
            with locked(data):
                read_key(data / "key")
                with closing(Store(data)) as store:
                    url_secret(store, b"secret")
                    return
        except RunnerError as error:
            print(error.message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
