"""Changes of the state folder's layout, one module each: `m0002_…` makes format 2 from format 1.

Each has `change(root)`; it is called again after an interruption. Commands that change nothing do
not migrate, so they also understand the previous format of what they read.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path

from runner.disk.locks import locked
from runner.disk.own_files import write_atomic
from runner.errors import RunnerError

Change = Callable[[Path], None]


def find_changes() -> dict[int, Change]:
    """Format → the function that makes it from the previous format, in order."""
    names = sorted(one.name for one in pkgutil.iter_modules(__path__) if one.name.startswith("m"))
    return {int(name[1:5]): importlib.import_module(f"{__name__}.{name}").change for name in names}


def migrate(root: Path, changes: dict[int, Change]) -> None:
    """Migrate a state folder to the newest format, step by step.

    Of two commands at the same time, one migrates. If a step fails, the folder keeps the format
    of the step before.

    Raises:
        RunnerError: a file cannot be written.
    """
    try:
        with locked(root / "lock"):
            record = json.loads((root / "fleet").read_text("utf-8"))
            for number, change in changes.items():
                if number > record.get("format", 1):
                    change(root)
                    record["format"] = number
                    write_atomic(root / "fleet", json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise RunnerError(
            f"cannot bring `{root}` to this version's format: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode; nothing in it is lost",
        ) from error
