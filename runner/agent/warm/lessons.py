"""What earlier runs and parents have taught: which modules to import, which to leave out."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 22
MAX_NAMES = 20_000


@dataclass
class Lessons:
    """Grows from run to run; a program that changes its imports adds to them."""

    modules: "dict[str, None]" = field(default_factory=dict)  # in the order of import
    local: "dict[str, None]" = field(default_factory=dict)  # files of the project's own modules
    avoid: "dict[str, str]" = field(default_factory=dict)  # package → reason
    uses_wandb: bool = False

    def read(self, file: Path) -> bool:
        """Take in what a run left behind; whether a parent has to import more."""
        known = len(self.modules), len(self.local)
        for record in _read_records(file):
            for name in _texts(record.get("modules")):
                self.modules.setdefault(name)
            for name in _texts(record.get("local")):
                self.local.setdefault(name)
            self.uses_wandb = self.uses_wandb or record.get("wandb") is True
        return known != (len(self.modules), len(self.local))

    def read_avoided(self, file: Path) -> "dict[str, str]":
        """Packages that a run could not use as the parent has them, and why."""
        found: dict[str, str] = {}
        for record in _read_records(file):
            found.update(_as_reasons(record.get("avoid")))
        return found


class Reports:
    """The folder in which children leave what their runs have taught, made when one is."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._made = 0

    def make_path(self) -> Path:
        """Where the next child writes; no two write to one file."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="runner-warm-"))
        self._made += 1
        return self._folder / f"{self._made}.json"

    def remove(self) -> None:
        """Remove them all."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _as_reasons(found: object) -> "dict[str, str]":
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(name): str(reason)[:500] for name, reason in pairs}


def _read_records(file: Path) -> "list[Mapping[str, Any]]":
    """A run's report, a JSON object in each line; the run's user may have put anything there."""
    try:
        with file.open("rb") as stream:
            lines = stream.read(MAX_BYTES).splitlines()
        records = [json.loads(line) for line in lines]
    except (OSError, ValueError, RecursionError):
        return []
    return [one for one in records if isinstance(one, dict)]


def _texts(found: object) -> "list[str]":
    names = found if isinstance(found, list) else []
    return [one for one in names[:MAX_NAMES] if isinstance(one, str) and "\0" not in one]
