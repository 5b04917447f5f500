"""What every answer draws on: the store, the sweep files, the clocks."""

import json
import re
import secrets
import string
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runner import sweepfile
from runner.search.grid import Grid, make_grid
from runner.search.progress import RunView
from runner.server.access import Keys
from runner.server.ages import Ages
from runner.server.floor import Floor
from runner.server.records import Project, Run, Sweep
from runner.server.store import Store
from runner.server.tokens import Tokens
from runner.server.wire import Args, Refused, text

DEFAULT_ENTITY = "local"
DEFAULT_PROJECT = "uncategorized"
LONGEST_NAME = 128  # characters of an entity, a project, an ID: W&B's own limit
LETTERS = string.ascii_lowercase + string.digits
NAME = re.compile(r"[^/\\#?%:\x00-\x1f]+")
READINGS = 256  # sweep files kept parsed
Config = dict[str, object]


@dataclass(slots=True)
class Reading:
    """A sweep file as it was read."""

    config: str  # its text
    spec: sweepfile.SweepSpec | None  # None: it has errors
    findings: list[sweepfile.Diagnostic]
    grid: Grid | None = None

    @classmethod
    def of(cls, config: str) -> "Reading":
        """The text, parsed."""
        spec, findings = sweepfile.read_sweep(config)
        return cls(config, spec, findings, make_grid(spec) if spec else None)


@dataclass(slots=True)
class Service:
    """The parts that requests share; safe to use from any thread.

    What is remembered here is on the disk: it changes after the transaction that changes the store
    (`Store.after_commit`), or can be made from the store again.
    """

    store: Store
    tokens: Tokens
    clock: Callable[[], float] = time.time  # for what people read; it may jump
    ages: Ages = field(default_factory=Ages)
    keeps_steps_once: bool = True  # a row of a step that is there is a repeated one
    min_free: int | None = None  # bytes that uploads leave on the disk; None: the default
    floor: Floor = field(init=False)
    keys: Keys = field(init=False)
    suggested: dict[str, Config | None] = field(default_factory=dict)  # by agent: what it gets next
    priors: dict[tuple[str, str], tuple[object, RunView]] = field(default_factory=dict)
    due: dict[str, Run] = field(default_factory=dict)  # by path: runs whose rows are to be sealed
    _readings: OrderedDict[str, Reading] = field(default_factory=OrderedDict)  # by sweep
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.floor = Floor(self.store.root, self.min_free)
        self.keys = Keys(self.store, self.tokens, self.clock)

    def ensure_project(self, entity: str, name: str) -> None:
        """Make the project known; names are taken as they come, up to W&B's length."""
        for value in (entity, name):
            if len(value) > LONGEST_NAME:
                raise Refused(400, f"`{value[:40]}…` is longer than {LONGEST_NAME} characters")
            if not NAME.fullmatch(value):
                raise Refused(400, f"`{value}` cannot be a name: no / \\ # ? % : in it")
        if self.store.project(entity, name) is None:
            self.store.put(Project(entity, name, self.clock()))

    def spec(self, sweep: Sweep) -> sweepfile.SweepSpec:
        """What the sweep's file says; it is parsed once.

        Raises:
            Refused: 500, an older version took a file that this one does not.
        """
        reading = self.read_config(sweep.path, sweep.config)
        self.remember_config(sweep, reading)
        if reading.spec is None:
            wrong = [str(one) for one in reading.findings if one.level == "error"]
            raise Refused(500, "the stored sweep file is no longer valid", *wrong)
        return reading.spec

    def grid(self, sweep: Sweep) -> Grid | None:
        """The cells of a sweep whose method is to try them all."""
        self.spec(sweep)
        return self.read_config(sweep.path, sweep.config).grid

    def sweep_of(self, run: Run) -> Sweep | None:
        """The sweep that a run is part of."""
        return self.store.sweep(run.entity, run.project, run.sweep) if run.sweep else None

    def read_config(self, path: str, config: str) -> Reading:
        """The text of a sweep file, parsed, unless it is known as that of the sweep at `path`."""
        known = self._readings.get(path)
        return known if known and known.config == config else Reading.of(config)

    def remember_config(self, sweep: Sweep, reading: Reading) -> None:
        """Keep what the sweep's file says."""
        with self._guard:
            self._readings[sweep.path] = reading
            self._readings.move_to_end(sweep.path)
            while len(self._readings) > READINGS:
                self._readings.popitem(last=False)

    def history(self, run: Run) -> list[str]:
        """The run's history rows as JSON."""
        return list(self.store.lines.read(run, "history"))

    def events(self, run: Run) -> list[str]:
        """The run's system metrics as JSON."""
        return list(self.store.lines.read(run, "events"))

    def output(self, run: Run) -> list[str]:
        """The run's console lines; a line that was written again counts as last written."""
        lines: dict[int, str] = {}
        for raw in self.store.lines.read(run, "output"):
            at, line = json.loads(raw)
            lines[at] = line
        return [lines[at] for at in sorted(lines)]


def place_of(args: Args) -> tuple[str, str]:
    """Entity and project, whichever way the input names them."""
    project = text(args, "projectName") or text(args, "modelName") or DEFAULT_PROJECT
    return text(args, "entityName") or DEFAULT_ENTITY, project


def chosen_config(run: Run) -> dict[str, Any]:
    """What the search chose for a run; of a run from elsewhere, what it logged as its config."""
    return chosen_of(run.suggested, run.config)


def chosen_of(suggested: str | None, logged: str) -> dict[str, Any]:
    """What the search chose, else what the run logged as its config."""
    if suggested is not None:
        chosen: dict[str, Any] = json.loads(suggested)
        return chosen
    config = json.loads(logged)
    return {
        key: one["value"]
        for key, one in config.items()
        if key != "_wandb" and isinstance(one, dict) and "value" in one
    }


def seed_of(sweep: Sweep) -> int:
    """A seed of the sweep's own, the same after a restart."""
    return zlib.crc32(sweep.path.encode())


def new_id() -> str:
    """Eight letters and digits, as W&B's IDs."""
    return "".join(secrets.choice(LETTERS) for _ in range(8))
