"""Create the sweeps of the runs on the target, before the runs are sent."""

from collections.abc import Callable, Mapping
from typing import Any

from runner.agent.contract.sweeps import SweepPath
from runner.backend.nodes import SweepInfo
from runner.errors import RunnerError
from runner.offline.ledger import Ledger
from runner.offline.target import SyncTarget

ConfigOf = Callable[[str], Mapping[str, Any] | None]


class TargetSweeps:
    """The sweep on the target for each sweep of the logs; created if missing."""

    def __init__(
        self, target: SyncTarget, ledger: Ledger, config_of: ConfigOf, report: Callable[[str], None]
    ) -> None:
        """`config_of` gives a sweep's configuration by its ID, None if it is unknown."""
        self._target, self._ledger = target, ledger
        self._config_of, self._report = config_of, report
        self._known: dict[tuple[str, str, str], SweepInfo | None] = {}

    def get(self, sweep_id: str, entity: str, project: str) -> SweepInfo | None:
        """The sweep for these runs; None if it does not exist and its YAML is unknown."""
        key = (entity, project, sweep_id)
        if key not in self._known:
            self._known[key] = self._find(*key) or self._create(*key)
        return self._known[key]

    def plan_sweep_path(self, sweep_id: str, entity: str, project: str) -> SweepPath | None:
        """The path of that sweep, for `--dry-run`; `(new)` if it would be created."""
        if found := self._find(entity, project, sweep_id):
            return found.path
        return SweepPath(entity, project, "(new)") if self._config_of(sweep_id) else None

    def _find(self, entity: str, project: str, sweep_id: str) -> SweepInfo | None:
        local = SweepPath(entity, project, sweep_id)
        _, remote = self._ledger.sweep(str(local))
        for path in (local, remote and SweepPath.parse(remote)):
            if path and (found := self._target.find_sweep(path)):
                return found
        return None

    def _create(self, entity: str, project: str, sweep_id: str) -> SweepInfo | None:
        config = self._config_of(sweep_id)
        if config is None:
            return None
        local = str(SweepPath(entity, project, sweep_id))
        begun, _ = self._ledger.sweep(local)
        self._ledger.put_sweep(local, None)
        sweep = self._orphan(config, entity, project) if begun else None
        if sweep is None:
            sweep = self._target.create_sweep(config, entity=entity, project=project)
        self._pause(sweep)  # before the ledger entry: after a kill in between, `_orphan` finds it
        self._ledger.put_sweep(local, str(sweep.path))
        self._report(f"sweep {sweep_id}: created as {sweep.path}")
        return sweep

    def _orphan(self, config: Mapping[str, Any], entity: str, project: str) -> SweepInfo | None:
        """A sweep that an interrupted call created: it has the same YAML and no runs."""
        sweeps = self._target.sweeps(entity, project)
        return next((one for one in sweeps if one.config == config and not one.run_count), None)

    def _pause(self, sweep: SweepInfo) -> None:
        try:
            self._target.pause_sweep(sweep)
        except RunnerError as error:
            self._report(f"warning: sweep {sweep.path} could not be paused: {error.message}")
