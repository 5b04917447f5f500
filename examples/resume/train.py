"""Learns a chaotic series; saves after each epoch, and goes on from there if started again."""

import argparse
import os
from pathlib import Path

import torch
import wandb
from torch import nn

CHECKPOINT_DIR = Path(os.environ.get("CHECKPOINT_DIR", "checkpoints"))


def make_series(length=600):
    values = [0.4]
    for _ in range(length):
        values.append(3.9 * values[-1] * (1 - values[-1]))
    series = torch.tensor(values)
    return series.unfold(0, 3, 1)[:-1], series[3:, None]


def make_model(depth, width=32):
    layers = [nn.Linear(3, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def save(file, **state):
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".tmp")
    torch.save(state, partial)
    partial.replace(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()

    run = wandb.init(project="chaos", config=args, resume="allow")
    torch.manual_seed(0)
    x, y = make_series()
    model = make_model(args.depth)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

    checkpoint, first = CHECKPOINT_DIR / run.id / "last.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
        print(f"goes on at epoch {first}")

    for epoch in range(first, args.epochs):
        order = torch.randperm(len(x))
        for part in order.split(16):
            loss = nn.functional.mse_loss(model(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        run.log({"epoch": epoch, "loss": nn.functional.mse_loss(model(x), y).item()}, step=epoch)
        save(
            checkpoint,
            epoch=epoch,
            model=model.state_dict(),
            optimizer=optimizer.state_dict(),
        )
    run.finish()


if __name__ == "__main__":
    main()
