"""One run from its data to its result: validations, checkpoints, and how it may end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL.Image import Image

from amt.config import TrainConfig, as_dict
from amt.data.dataset import Dataset, read_labels
from amt.data.splits import open_split
from amt.devices import has_fast_bf16, pick_device
from amt.environment import Environment
from amt.errors import AmtError, ConfigError, DiskError, NotFiniteError
from amt.metrics.constants import score_constant
from amt.metrics.scores import KINDS, describe
from amt.model.build import build_model
from amt.stopping import EXIT_CODES, Stop
from amt.tracking import Tracker, print_result
from amt.training.checkpoint import Checkpoints
from amt.training.precision import Precision
from amt.training.schedule import Schedule
from amt.training.step import Training
from amt.training.validation import draw_examples, validate
from amt.weights import require_weights

_log = logging.getLogger(__name__)


def run_training(config: TrainConfig, environment: Environment, stop: Stop) -> int:
    """Train, report, and give the exit code.

    Raises:
        AmtError: the settings, the tracking or the numbers do not allow it.
    """
    torch.set_num_threads(environment.threads)
    device = pick_device(config.run.device)
    precision = Precision.of(config.run, device)
    _warn_of_settings(config, precision, device)
    weights = require_weights(config.trunk, environment)
    model = build_model(config, weights, precision.autocast).to(device)
    train, val = (open_split(config.data, one, environment.cache) for one in ("train", "val"))
    tracker = Tracker.start(as_dict(config), best_metric=config.run.best_metric, on_stop=stop.early)
    exit_code, training = AmtError.exit_code, None
    try:
        stop.defer_signals()
        folder = environment.checkpoints or Path("checkpoints") / tracker.run_id
        training = Training(config, model, train, precision)
        run = _Run(training, val, tracker, Checkpoints(folder))
        exit_code = run.to_its_end(stop)
        if training.step >= config.steps and config.data.test_scenes:
            run.score_best(open_split(config.data, "test", environment.cache))
    except AmtError as error:
        exit_code = error.exit_code
        raise
    finally:
        if training is not None:
            training.close()
        tracker.close(exit_code)
    _tell_result(config.run.best_metric, run)
    return exit_code


class _Run:
    """The loop around a training."""

    def __init__(
        self, training: Training, val: Dataset, tracker: Tracker, checkpoints: Checkpoints
    ) -> None:
        self.training, self.val, self.tracker = training, val, tracker
        self.config, self.checkpoints = training.config, checkpoints
        self.best: float | None = None
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.constants = score_constant(read_labels(training.data), read_labels(val))
        self._resume()

    def to_its_end(self, stop: Stop) -> int:
        """Step until all images are seen or somebody asks to stop."""
        saved_at = time.monotonic()
        try:
            while self.training.step < self.config.steps and stop.reason is None:
                self.training.train_step()
                self._report()
                if time.monotonic() - saved_at > self.config.run.checkpoint_minutes * 60:
                    self._try_to_save()
                    saved_at = time.monotonic()
        except NotFiniteError:
            self.checkpoints.remove_last()  # going on from it would diverge again
            raise
        return self._end(stop)

    def score_best(self, test: Dataset) -> None:
        """Report what the best weights score on scenes that no choice was made by."""
        best = self.checkpoints.load_best()
        self.training.ema.load_state_dict(best["model"], updates=self.training.ema.updates)
        self.tracker.report(_prefix("test", validate(self.training, test)))

    def _report(self) -> None:
        """Validate at the end of an epoch, log the training's own row at the settings' interval."""
        step = self.training.step
        if epoch := self.training.schedule.epoch_ending_at(step):
            self._validate(epoch)
        elif step % self.config.run.log_steps == 0:
            self._log(self.training.close_window())

    def _validate(self, epoch: int) -> None:
        trained = self.training.close_window()
        if "train/loss" not in trained:
            raise NotFiniteError("no step since the last validation gave a finite gradient")
        scores = validate(self.training, self.val)
        row = {**_prefix("val", scores), **trained, "epoch": epoch}
        self._log(row, draw_examples(self.training, self.val) if self._is_drawn(epoch) else None)
        metric = self.config.run.best_metric
        if metric not in row:
            raise ConfigError(f"best_metric `{metric}` is not logged; {', '.join(row)} are")
        _log.info("epoch %d: %s %s", epoch, metric, describe(_bare(metric), row[metric]))
        if self._is_best(row[metric]):
            self.best = row[metric]
            self.checkpoints.save_best(
                {
                    "config": as_dict(self.config),
                    metric: self.best,
                    "model": self.training.ema.state_dict(),
                    "frozen": self.training.frozen,
                }
            )
        self._report_best()

    def _is_drawn(self, epoch: int) -> bool:
        every = self.config.run.overlay_epochs
        return every > 0 and (epoch % every == 0 or epoch == self.config.epochs)

    def _log(self, row: dict[str, float], picture: Image | None = None) -> None:
        images = self.training.step * self.config.optim.batch_size  # all batch sizes compare
        self.rows.append((images, row))
        self.tracker.log(row, step=images, picture=picture)

    def _is_best(self, value: float) -> bool:
        if self.best is None:
            return True
        return value < self.best if self.config.run.best_goal == "minimize" else value > self.best

    def _report_best(self) -> None:
        if self.best is not None:
            self.tracker.report({self.config.run.best_metric: self.best})
            self.tracker.report(_prefix("constant", self.constants))

    def _end(self, stop: Stop) -> int:
        if self.training.step >= self.config.steps or stop.reason is None:
            self.checkpoints.remove_last()
            return 0
        if stop.reason == "early_stop":
            _log.info("the server ended this run early")
            self.tracker.finish_early()
            self.checkpoints.remove_last()
        else:
            self._save()
            _log.info("saved after step %d of %d", self.training.step, self.config.steps)
        if stop.reason == "interrupted":
            _log.info(
                "to go on: the same command with WANDB_RUN_ID=%s WANDB_RESUME=allow before it",
                self.tracker.run_id,
            )
        if stop.reason == "terminated":
            self.tracker.mark_preempting()
        return EXIT_CODES[stop.reason]

    def _save(self) -> None:
        self.checkpoints.save_last(
            self.training.state_dict() | {"best": self.best, "rows": self.rows}
        )

    def _try_to_save(self) -> None:
        """A full disk now may have room next time, and the checkpoint before is still there."""
        try:
            self._save()
        except DiskError as error:
            _log.warning("going on without a new checkpoint: %s", error)

    def _resume(self) -> None:
        state = self.checkpoints.load_last()
        if state is None:
            return
        if state["config"] != as_dict(self.config):
            raise ConfigError("the checkpoint of this run was made with other settings")
        self.training.load_state_dict(state)
        self.best, self.rows = state["best"], list(state["rows"])
        self.tracker.resend_lost_rows(self.rows)
        self._report_best()
        _log.info("resumed after step %d of %d", self.training.step, self.config.steps)


def _tell_result(metric: str, run: _Run) -> None:
    best, constant = run.best, run.constants.get(_bare(metric))
    if best is not None:
        beside = "" if constant is None else f", best constant {describe(_bare(metric), constant)}"
        print_result(f"best {metric} {describe(_bare(metric), best)}{beside}")


def _prefix(group: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in scores.items()}


def _bare(metric: str) -> str:
    return metric.removeprefix("val/")


def _warn_of_settings(config: TrainConfig, precision: Precision, device: torch.device) -> None:
    """Say which settings are allowed and yet hardly meant."""
    if precision.autocast == torch.bfloat16 and not has_fast_bf16(device):
        _log.warning("use_bf16: this %s emulates bfloat16, float32 is faster here", device.type)
    metric, goal = config.run.best_metric, config.run.best_goal
    if KINDS.get(_bare(metric), (goal,))[0] != goal:
        _log.warning("best_goal is %s, and `%s` is better the other way", goal, metric)
    schedule = Schedule.of(config)
    if schedule.ends_in_mid_cycle():
        _log.warning(
            "scheduler_T_0 %d does not divide the %d epochs: the last one ends at a rate of %.2g, "
            "not at scheduler_min_lr",
            schedule.cycle_epochs,
            schedule.epochs,
            schedule.learning_rate(schedule.steps - 1),
        )
