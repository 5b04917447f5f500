"""Tells two spirals apart, by a line or by a network with one hidden layer."""

import logging
from itertools import pairwise
from pathlib import Path

import hydra
import numpy as np
import wandb
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def make_spirals(count, seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    turn = rng.uniform(0.25, 1.5, count)
    angle = 2 * np.pi * turn + np.pi * label
    points = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + rng.normal(0, 0.03, points.shape), label.astype(float)


class Net:
    def __init__(self, hidden, rng):
        sizes = [2, hidden, 1] if hidden else [2, 1]
        self.weights = [
            rng.normal(0, 1 / np.sqrt(rows), (rows, columns)) for rows, columns in pairwise(sizes)
        ]
        self.biases = [np.zeros(columns) for columns in sizes[1:]]
        self.speeds = [np.zeros_like(one) for one in self.parameters]

    @property
    def parameters(self):
        return [*self.weights, *self.biases]

    def step(self, x, y, lr, momentum):
        layers = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            layers.append(np.tanh(layers[-1] @ weight + bias))
        logits = (layers[-1] @ self.weights[-1] + self.biases[-1])[:, 0]
        loss = np.mean(np.logaddexp(0, logits) - y * logits)

        grad = ((1 / (1 + np.exp(-logits)) - y) / len(y))[:, None]
        weight_grads, bias_grads = [], []
        for weight, inputs in zip(reversed(self.weights), reversed(layers), strict=True):
            weight_grads.insert(0, inputs.T @ grad)
            bias_grads.insert(0, grad.sum(0))
            grad = grad @ weight.T * (1 - inputs**2)
        gradients = [*weight_grads, *bias_grads]
        for parameter, speed, gradient in zip(self.parameters, self.speeds, gradients, strict=True):
            speed *= momentum
            speed -= lr * gradient
            parameter += speed
        return loss, np.mean((logits > 0) == y)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig):
    log.info("configuration:\n%s", OmegaConf.to_yaml(cfg))
    output = Path(HydraConfig.get().runtime.output_dir)
    run = wandb.init(
        project=cfg.project,
        config=OmegaConf.to_container(cfg, resolve=True),
        dir=output,
    )
    x, y = make_spirals(400, cfg.seed)
    net = Net(cfg.model.hidden, np.random.default_rng(cfg.seed))
    for epoch in range(cfg.epochs):
        for _ in range(25):
            loss, accuracy = net.step(x, y, cfg.optimizer.lr, cfg.optimizer.momentum)
        run.log({"epoch": epoch, "loss": loss, "accuracy": accuracy})
    np.savez(output / "net.npz", *net.parameters)
    log.info("loss %.3f, saved to %s", loss, output)
    run.finish()


if __name__ == "__main__":
    main()
