"""Fits a line to noisy points by gradient descent and logs the loss to W&B."""

import random
from pathlib import Path

import wandb

with wandb.init() as run:
    rate, momentum = float(run.config["rate"]), float(run.config["momentum"])
    dice = random.Random(0)
    points = [(x / 50, 3 * x / 50 + 1 + dice.gauss(0, 0.1)) for x in range(50)]
    slope = offset = slope_speed = offset_speed = 0.0
    for step in range(60):
        errors = [(slope * x + offset - y, x) for x, y in points]
        loss = sum(error * error for error, _ in errors) / len(points)
        run.log({"loss": loss}, step=step)
        slope_speed = momentum * slope_speed - rate * sum(e * x for e, x in errors) / len(points)
        offset_speed = momentum * offset_speed - rate * sum(e for e, _ in errors) / len(points)
        slope, offset = slope + slope_speed, offset + offset_speed
    Path("line.txt").write_text(f"{slope} {offset}\n")
