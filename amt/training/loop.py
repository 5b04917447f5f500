"""One run from its data to its result: validations, checkpoints, and how it may end."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch

from amt.config import TrainConfig, as_dict
from amt.data.dataset import Dataset
from amt.data.synthetic import open_synthetic
from amt.devices import has_fast_bf16, pick_device
from amt.environment import Environment
from amt.errors import AmtError, ConfigError, DiskError, NotFiniteError
from amt.metrics import mean_pose_mpjpe_mm
from amt.model.build import build_model
from amt.stopping import EXIT_CODES, Stop
from amt.tracking import MEAN_POSE, Tracker, print_result
from amt.training.checkpoint import Checkpoints
from amt.training.precision import Precision
from amt.training.schedule import Schedule
from amt.training.step import Training
from amt.training.validation import validate
from amt.weights import require_weights

TRAIN_SEED, VAL_SEED = 1, 2  # every run sees the same scenes, whatever its own seed

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
    train, val = _open_data(config, environment.cache)
    tracker = Tracker.start(as_dict(config), best_metric=config.run.best_metric, on_stop=stop.early)
    exit_code, training = AmtError.exit_code, None
    try:
        stop.defer_signals()
        folder = environment.checkpoints or Path("checkpoints") / tracker.run_id
        training = Training(config, model, train, precision)
        run = _Run(training, val, tracker, Checkpoints(folder))
        exit_code = run.to_its_end(stop)
    except AmtError as error:
        exit_code = error.exit_code
        raise
    finally:
        if training is not None:
            training.close()
        tracker.close(exit_code)
    if run.best is not None:
        print_result(config.run.best_metric, run.best, run.mean_pose_mm)
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
        self.mean_pose_mm = mean_pose_mpjpe_mm(
            torch.from_numpy(training.data.joints.copy()), torch.from_numpy(val.joints.copy())
        )
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
        row = {**validate(self.training, self.val), **trained, "epoch": epoch}
        self._log(row)
        metric = self.config.run.best_metric
        if metric not in row:
            raise ConfigError(f"best_metric `{metric}` is not logged; {', '.join(row)} are")
        _log.info("epoch %d: %s %s", epoch, metric, f"{row[metric]:.4g}")
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

    def _log(self, row: dict[str, float]) -> None:
        images = self.training.step * self.config.optim.batch_size  # all batch sizes compare
        self.rows.append((images, row))
        self.tracker.log(row, step=images)

    def _is_best(self, value: float) -> bool:
        if self.best is None:
            return True
        return value < self.best if self.config.run.best_goal == "minimize" else value > self.best

    def _report_best(self) -> None:
        if self.best is not None:
            self.tracker.report_best({self.config.run.best_metric: self.best})
            self.tracker.report_best({MEAN_POSE: self.mean_pose_mm})

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


def _warn_of_settings(config: TrainConfig, precision: Precision, device: torch.device) -> None:
    """Say which settings are allowed and yet hardly meant."""
    if precision.autocast == torch.bfloat16 and not has_fast_bf16(device):
        _log.warning("use_bf16: this %s emulates bfloat16, float32 is faster here", device.type)
    schedule = Schedule.of(config)
    if schedule.ends_in_mid_cycle():
        _log.warning(
            "scheduler_T_0 %d does not divide the %d epochs: the last one ends at a rate of %.2g, "
            "not at scheduler_min_lr",
            schedule.cycle_epochs,
            schedule.epochs,
            schedule.learning_rate(schedule.steps - 1),
        )


def _open_data(config: TrainConfig, cache: Path) -> tuple[Dataset, Dataset]:
    size_px, context = config.data.image_size, config.data.crop_context
    return (
        open_synthetic(
            cache,
            count=config.data.train_scenes,
            size_px=size_px,
            seed=TRAIN_SEED,
            context=context,
        ),
        open_synthetic(cache, count=config.data.val_scenes, size_px=size_px, seed=VAL_SEED),
    )
