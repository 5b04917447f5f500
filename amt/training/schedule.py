"""How long a training is, where it validates, and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from amt.config.schema import TrainConfig


@dataclass(frozen=True, slots=True)
class Schedule:
    """A training in steps; an epoch is what lies between two validations."""

    steps: int
    epochs: int
    warmup_steps: float
    cycle_epochs: int  # after each the rate starts anew
    highest: float
    lowest: float

    @classmethod
    def of(cls, config: TrainConfig) -> Schedule:
        """The schedule that the settings describe."""
        optim = config.optim
        return cls(
            steps=config.steps,
            epochs=config.epochs,
            warmup_steps=max(1.0, config.steps * optim.warmup_share),
            cycle_epochs=optim.scheduler_T_0,
            highest=optim.learning_rate,
            lowest=optim.scheduler_min_lr,
        )

    def epoch_ending_at(self, step: int) -> int | None:
        """The epoch, from 1, whose last step this was: then it is validated."""
        epoch = round(step * self.epochs / self.steps)
        ends = epoch > 0 and round(epoch * self.steps / self.epochs) == step
        return epoch if ends else None

    def learning_rate(self, step: int) -> float:
        """Of the step, from 0: a cosine that restarts each cycle, times a linear warm-up.

        After Loshchilov & Hutter 2017 (SGDR), with cycles of equal length.
        """
        cycles = step * self.epochs / self.steps / self.cycle_epochs
        cosine = (1 + math.cos(math.pi * (cycles % 1))) / 2
        rate = self.lowest + (self.highest - self.lowest) * cosine
        return rate * min(1.0, (step + 1) / self.warmup_steps)

    def ends_in_mid_cycle(self) -> bool:
        """Does the last step come at a rate far above the lowest?"""
        return self.epochs % self.cycle_epochs != 0
