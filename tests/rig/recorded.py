"""How the runs of a sweep were started, as `tests/rig/recorder` wrote it down in them."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RECORDER = Path(__file__).parent / "recorder" / "sitecustomize.py"
MOUNTED = "/recorder"
IDS = {"WANDB_SWEEP_ID": "<sweep>", "WANDB_RUN_ID": "<run>"}


@dataclass(frozen=True, slots=True)
class Start:
    """One process, at the first code of its program that is not of a library."""

    file: str
    argv: tuple[str, ...]
    command: tuple[str, ...]  # of the whole process, the interpreter first
    folder: str
    environ: Mapping[str, str]

    @property
    def run(self) -> str | None:
        """The run that it belongs to."""
        return self.environ.get("WANDB_RUN_ID")

    @property
    def words(self) -> tuple[str, ...]:
        """What the program was called with, without paths of one container and without IDs."""
        return tuple(self.shorten(one) for one in self.argv)

    @property
    def line(self) -> tuple[str, ...]:
        """The same of the whole process; the interpreter by its name."""
        first, *others = self.command
        return (Path(first).name, *map(self.shorten, others))

    def shorten(self, text: str) -> str:
        """A string of this process, comparable with one of another."""
        for name, instead in IDS.items():
            if value := self.environ.get(name):
                text = text.replace(value, instead)
        return text.replace(f"{self.folder}/", "")


@dataclass(frozen=True, slots=True)
class Recorder:
    """A folder for `PYTHONPATH` in a container, in which starts are written down."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Recorder":
        """Make it; anybody in a container may write there."""
        (folder / "seen").mkdir(parents=True)
        (folder / "seen").chmod(0o777)
        shutil.copy(RECORDER, folder)
        return cls(folder)

    def starts(self) -> Iterator[Start]:
        """What was written down, the oldest first."""
        for file in sorted((self.folder / "seen").iterdir(), key=os.path.getmtime):
            found = json.loads(file.read_text())
            argv, command = tuple(found["argv"]), tuple(found["command"])
            yield Start(found["file"], argv, command, found["folder"], found["environ"])
