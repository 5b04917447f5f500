"""What a run reports: rows and summary to W&B, one last line to the terminal. The door to wandb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import wandb
from PIL.Image import Image

from amt.config import Value
from amt.errors import ConfigError, TrackingError
from amt.wandb_log import find_earlier_logs, read_logged_steps

OVERLAYS = "val/overlays"
CAPTION = "pairs: labels, predictions; a dot where a joint touches"


class Tracker:
    """One W&B run."""

    def __init__(self, run: wandb.Run, *, best_metric: str) -> None:
        self._run = run
        # What W&B writes by itself is the last value, and with summary="min" a nested one,
        # {"min": 56.1}, where a sweep finds no number (0.31): `report` writes it instead.
        run.define_metric(best_metric, summary="none")
        self._logged = _steps_of_earlier_attempts(run)

    @classmethod
    def start(
        cls, config: Mapping[str, Value], *, best_metric: str, on_stop: Callable[[], None]
    ) -> Tracker:
        """Open the run.

        Args:
            config: all settings, flat.
            best_metric: of which the summary keeps the best value, not the last.
            on_stop: called from a thread when the server ends the run early.

        Raises:
            ConfigError: the sweep's values did not arrive on the command line.
            TrackingError: no key, no server, no permission.
        """
        try:
            run = wandb.init(config=dict(config), settings=wandb.Settings(stop_fn=on_stop))
        except wandb.Error as error:
            raise TrackingError(f"W&B: {' '.join(str(error).split())}") from error
        for key, value in config.items():
            if run.config[key] != value:
                raise ConfigError(
                    f"the sweep sets {key} to `{run.config[key]}`, this program got `{value}`: "
                    "its `command` needs `${args}`"
                )
        return cls(run, best_metric=best_metric)

    @property
    def run_id(self) -> str:
        """The ID under which the run can be resumed."""
        return self._run.id

    def log(self, row: Mapping[str, float], *, step: int, picture: Image | None = None) -> None:
        """Send one row, unless an earlier attempt at this run has sent it.

        Online the server says which step is its next; offline the logs on disk hold the rows.
        """
        if step >= self._run.step and step not in self._logged:
            shown = {} if picture is None else {OVERLAYS: wandb.Image(picture, caption=CAPTION)}
            self._run.log({**row, **shown}, step=step, commit=True)

    def resend_lost_rows(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Send those rows of a resumed run that were lost when its process was killed."""
        for step, row in rows:
            self.log(row, step=step)

    def report(self, values: Mapping[str, float]) -> None:
        """Keep values in the summary: the best one there is what a sweep ranks by."""
        self._run.summary.update(dict(values))

    def finish_early(self) -> None:
        """Mark a run that the server ended."""
        self._run.summary["stopped_early"] = True

    def mark_preempting(self) -> None:
        """Mark a run that was interrupted and will be tried again."""
        self._run.mark_preempting()

    def close(self, exit_code: int) -> None:
        """Send what is left."""
        self._run.finish(exit_code=exit_code)


def _steps_of_earlier_attempts(run: wandb.Run) -> set[int]:
    """Of a run that logs offline; W&B keeps no more than a prefix of what a killed one logged."""
    if run.settings.mode != "offline":
        return set()
    folder = Path(run.settings.wandb_dir)
    earlier = find_earlier_logs(folder, run.id, Path(run.settings.sync_dir))
    return read_logged_steps(earlier) if earlier else set()


def print_result(line: str) -> None:
    """The run's last line."""
    print(line)  # noqa: T201 - the result
