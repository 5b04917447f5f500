"""Which runs are to be removed: too old, not among the best. Only those that have ended."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple, Self

from runner.run_states import OVER
from runner.search.best import as_loss
from runner.server.readers import Value
from runner.server.records import Sweep
from runner.server.service import Service
from runner.server.usage import RunKey, Usage, find_media
from runner.server.wire import Args, Refused, number, text, whole
from runner.sweepfile.model import Goal

PARTS = ("entity", "project", "sweep")
GOES_ON = ("RUNNING", "PAUSED")  # a sweep that would try a removed run's configuration again
_ROWS = "select entity, project, id, sweep, state, best, coalesce(ended, heartbeat) from run"


class _Run(NamedTuple):
    entity: str
    project: str
    id: str
    sweep: str | None
    state: str
    best: float | None
    ended: float

    @property
    def key(self) -> RunKey:
        return self.entity, self.project, self.id


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a person wants to be rid of."""

    place: tuple[str, ...]  # entity and project, perhaps a sweep; (): everywhere
    before: float | None  # ended before this time
    keep_best: int | None  # of each sweep
    media_only: bool

    @classmethod
    def read(cls, body: Args) -> Self:
        """Of a request; refused with 400 where it is none, or means everything."""
        place = tuple((text(body, "place") or "").split("/")) if text(body, "place") else ()
        if place and not (2 <= len(place) <= len(PARTS) and all(place)):
            raise Refused(400, "`place` is `entity/project`, or `entity/project/sweep`")
        before, best = _moment(body.get("before")), whole(body, "keep_best")
        if best is not None and best < 0:
            raise Refused(400, "`keep_best` must be 0 or more")
        wanted = cls(place, before, best, body.get("media_only") is True)
        if before is None and best is None and not wanted.media_only:
            raise Refused(400, "`before`, `keep_best` or `media_only` must be there")
        return wanted


def _moment(value: object) -> float | None:
    """Refused with 400 where it is no time: infinity would mean every run."""
    if value is None:
        return None
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    found = number(value) if is_plain else None
    if found is None or not isfinite(found):
        raise Refused(400, "`before` must be a number")
    return found


@dataclass(slots=True)
class Chosen:
    """Runs to be removed, oldest first, and why others are not."""

    keys: list[RunKey] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)

    def node(self, usage: Usage, *, media_only: bool) -> dict[str, Any]:
        """For JSON: what would go."""
        held = usage.total(self.keys).node()
        if media_only:
            held["bytes"] = held["media_bytes"]
        return {**held, "kept": dict(self.kept)}


def choose(service: Service, wanted: Criteria) -> Chosen:
    """The runs to be removed."""
    chosen, best = Chosen(), _find_best(service, wanted)
    sweeps = {(one.entity, one.project, one.id): one for one in service.store.sweeps()}
    for run in _rows(service, wanted):
        why = _keep(run, wanted, sweeps.get((run.entity, run.project, run.sweep or "")), best)
        if why is None:
            chosen.keys.append(run.key)
        else:
            chosen.kept[why] += 1
    if wanted.media_only:
        having = find_media(service.store)
        chosen.keys = [key for key in chosen.keys if key in having]
    return chosen


def _keep(
    run: _Run, wanted: Criteria, sweep: Sweep | None, best: Mapping[RunKey, set[RunKey]]
) -> str | None:
    """Why a run stays."""
    if run.state not in OVER:
        return "live"
    if wanted.before is not None and run.ended >= wanted.before:
        return "newer"
    if wanted.keep_best is not None:
        if sweep is None or (sweep.entity, sweep.project, sweep.id) not in best:
            return "no metric"
        if run.key in best[sweep.entity, sweep.project, sweep.id]:
            return "best"
    if sweep is not None and sweep.state in GOES_ON and not wanted.media_only:
        return "sweep goes on"
    return None


def _find_best(service: Service, wanted: Criteria) -> dict[RunKey, set[RunKey]]:
    """By sweep with a metric its best runs, the oldest of equals."""
    if wanted.keep_best is None:
        return {}
    goals = {
        (one.entity, one.project, one.id): _goal(service, one) for one in service.store.sweeps()
    }
    found: defaultdict[RunKey, list[_Run]] = defaultdict(list)
    for run in _rows(service, wanted):
        if run.sweep is not None:
            found[run.entity, run.project, run.sweep].append(run)
    return {
        key: {run.key for run in _ranked(runs, goal)[: wanted.keep_best]}
        for key, runs in found.items()
        if (goal := goals.get(key)) is not None
    }


def _ranked(runs: Sequence[_Run], goal: Goal) -> list[_Run]:
    having = [(as_loss(run.best, goal), run) for run in runs if run.best is not None]
    return [run for _, run in sorted(having, key=lambda one: one[0])]


def _goal(service: Service, sweep: Sweep) -> Goal | None:
    try:
        spec = service.spec(sweep)
    except Refused:  # an older version took its file
        return None
    return spec.goal if spec.metric is not None else None


def _rows(service: Service, wanted: Criteria) -> Iterator[_Run]:
    where = "".join(f" and {name}=?" for name in PARTS[: len(wanted.place)])
    values: tuple[Value, ...] = wanted.place
    sql = f"{_ROWS} where 1{where} order by created, rowid"
    for row in service.store.database.iterate(sql, values):
        yield _Run(*row)
