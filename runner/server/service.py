"""What every answer draws on: the store, what is known of the runs, the clock, the locks."""

import json
import re
import secrets
import string
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner import sweepfile
from runner.server import logs
from runner.server.curves import Curve, Curves
from runner.server.records import Project, Run, Sweep
from runner.server.search import RunView, select_stops
from runner.server.store import Store
from runner.server.tokens import Tokens
from runner.server.wire import Args, Refused, number, pick, text

DEFAULT_ENTITY = "local"
DEFAULT_PROJECT = "uncategorized"
LONGEST_NAME = 128  # characters of an entity, a project, an ID: W&B's own limit
LETTERS = string.ascii_lowercase + string.digits
NAME = re.compile(r"[^/\\#?%:\x00-\x1f]+")
HISTORY, EVENTS, OUTPUT = "history.jsonl", "events.jsonl", "output.jsonl"
Reading = tuple[sweepfile.Sweep | None, list[sweepfile.Finding]]  # of a sweep file


@dataclass(slots=True)
class Service:
    """The parts that requests share; safe to use from any thread.

    What is remembered here is on the disk: it changes after the transaction that changes the store
    (`Store.after_commit`), or can be made from the store again.
    """

    store: Store
    tokens: Tokens
    clock: Callable[[], float] = time.time
    curves: Curves = field(default_factory=Curves)
    started: float = 0.0  # silence is counted from here at the earliest
    exhausted: set[str] = field(default_factory=set)  # paths of sweeps without a further config
    judged: dict[str, int] = field(default_factory=dict)  # by run: values that hyperband has seen
    _readings: dict[str, tuple[str, Reading]] = field(default_factory=dict)  # by sweep, with text
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _locks: defaultdict[str, threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )

    def __post_init__(self) -> None:
        self.started = self.clock()

    def lock(self, sweep: Sweep) -> threading.Lock:
        """Held while a sweep's next run is chosen, so that no two agents get the same."""
        with self._guard:
            return self._locks[sweep.path]

    def ensure_project(self, entity: str, name: str) -> None:
        """Make the project known; names are taken as they come, up to W&B's length."""
        for value in (entity, name):
            if len(value) > LONGEST_NAME:
                raise Refused(400, f"`{value[:40]}…` is longer than {LONGEST_NAME} characters")
            if not NAME.fullmatch(value):
                raise Refused(400, f"`{value}` cannot be a name: no / \\ # ? % : in it")
        if self.store.project(entity, name) is None:
            self.store.put(Project(entity, name, self.clock()))

    def spec(self, sweep: Sweep) -> sweepfile.Sweep:
        """What the sweep's file says; it is parsed once.

        Raises:
            Refused: 500, an older version took a file that this one does not.
        """
        spec, findings = reading = self.read_config(sweep.path, sweep.config)
        self.remember_config(sweep, reading)
        if spec is None:
            wrong = [str(one) for one in findings if one.level == "error"]
            raise Refused(500, "the stored sweep file is no longer valid", *wrong)
        return spec

    def spec_of(self, run: Run) -> sweepfile.Sweep | None:
        """What the file of a run's sweep says, if it is part of one."""
        sweep = self.store.sweep(run.entity, run.project, run.sweep) if run.sweep else None
        return self.spec(sweep) if sweep else None

    def read_config(self, path: str, config: str) -> Reading:
        """The text of a sweep file, parsed, unless it is known as that of the sweep at `path`."""
        known = self._readings.get(path)
        return known[1] if known and known[0] == config else sweepfile.read_sweep(config)

    def remember_config(self, sweep: Sweep, reading: Reading) -> None:
        """Keep what the sweep's file says."""
        self._readings[sweep.path] = sweep.config, reading

    def append(self, run: Run, name: str, size: int, lines: Iterable[str]) -> int:
        """Write lines to one of a run's logs, of which `size` bytes count; gives the new size."""
        return self.store.disk.append(self.path(run, name), size, lines)

    def path(self, run: Run, name: str) -> Path:
        """Where one of a run's logs lies."""
        return self.store.folder(run.entity, run.project, run.id) / name

    def history(self, run: Run) -> list[str]:
        """The run's history rows as JSON."""
        return list(logs.read(self.path(run, HISTORY), run.history_bytes))

    def events(self, run: Run) -> list[str]:
        """The run's system metrics as JSON."""
        return list(logs.read(self.path(run, EVENTS), run.events_bytes))

    def output(self, run: Run) -> list[str]:
        """The run's console lines; a line that was written again counts as last written."""
        lines: dict[int, str] = {}
        for raw in logs.read(self.path(run, OUTPUT), run.output_bytes):
            at, line = json.loads(raw)
            lines[at] = line
        return [lines[at] for at in sorted(lines)]

    def curve(self, run: Run, metric: str | None, *, newer: bool = False) -> Curve:
        """The run's steps and the values of `metric`; a moment later if `newer` will do."""
        return self.curves.get(
            run.path, run.history_bytes, metric, lambda: self.history(run), newer=newer
        )

    def views(self, sweep: Sweep) -> list[RunView]:
        """The sweep's runs, and those that it was told to learn from, as the search sees them."""
        spec, runs = self.spec(sweep), self.store.runs_of_sweep(sweep)
        known = {run.id for run in runs}
        for run_id in json.loads(sweep.prior):
            prior = self.store.run(sweep.entity, sweep.project, run_id)
            if prior is not None and run_id not in known:
                runs.append(prior)
        return [self._view(run, spec) for run in runs]

    def stop_early(self, run: Run) -> bool:
        """Ask those runs to stop that hyperband gives up, if `run` has new values of the metric.

        Says whether it looked. Values count as seen once the decision is stored: where that fails,
        the request is repeated, and so is the decision.
        """
        sweep = self.store.sweep(run.entity, run.project, run.sweep) if run.sweep else None
        spec = self.spec(sweep) if sweep else None
        if sweep is None or spec is None or spec.early_terminate is None or spec.metric is None:
            return False
        seen = len(self.curve(run, spec.metric).values)
        if self.judged.get(run.path, 0) == seen:
            return False
        stops = select_stops(spec, self.views(sweep))
        with self.store.transaction():
            for stop in stops:
                found = self.store.run(sweep.entity, sweep.project, stop.run_id)
                if found is not None and found.state == "running" and found.stop is None:
                    self.store.put(replace(found, stop="early", stop_at=self.clock()))
            self.store.after_commit(lambda: self.judged.update({run.path: seen}))
        return True

    def _view(self, run: Run, spec: sweepfile.Sweep) -> RunView:
        known = run.history_rows and spec.metric
        values = self.curve(run, spec.metric, newer=True).values if known else ()
        summary = number(pick(json.loads(run.summary), spec.metric)) if spec.metric else None
        return RunView(run.id, run.state, chosen_config(run), values, summary)


def place_of(args: Args) -> tuple[str, str]:
    """Entity and project, whichever way the input names them."""
    project = text(args, "projectName") or text(args, "modelName") or DEFAULT_PROJECT
    return text(args, "entityName") or DEFAULT_ENTITY, project


def chosen_config(run: Run) -> dict[str, Any]:
    """What the search chose for a run; of a run from elsewhere, what it logged as its config."""
    if run.suggested is not None:
        chosen: dict[str, Any] = json.loads(run.suggested)
        return chosen
    config = json.loads(run.config)
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
