"""Trains a small network to tell two interleaved half circles apart."""

import argparse

import numpy as np
import torch
import wandb
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
    parser.add_argument("--batch-norm", action="store_true")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_moons(count, noise, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, count)
    label = rng.integers(0, 2, count)
    x = np.where(label, 1 - np.cos(angle), np.cos(angle))
    y = np.where(label, 0.5 - np.sin(angle), np.sin(angle))
    points = np.stack([x, y], axis=1) + rng.normal(0, noise, (count, 2))
    return TensorDataset(torch.tensor(points, dtype=torch.float32), torch.tensor(label))


def make_model(hidden, batch_norm):
    norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
    return nn.Sequential(nn.Linear(2, hidden), *norm, nn.ReLU(), nn.Linear(hidden, 2))


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    right = sum((model(x.to(device)).argmax(1).cpu() == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    train, val = random_split(make_moons(1000, noise=0.2, seed=args.seed), [800, 200])
    train_loader = DataLoader(train, batch_size=args.batch_size, shuffle=True)
    val_loader = DataLoader(val, batch_size=200)

    model = make_model(args.hidden, args.batch_norm).to(device)
    make_optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[args.optimizer]
    optimizer = make_optimizer(model.parameters(), lr=args.lr)

    wandb.init(project="moons", config=args)
    wandb.watch(model, log_freq=50)
    for epoch in range(args.epochs):
        model.train()
        for x, y in train_loader:
            loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy = evaluate(model, val_loader, device)
        wandb.log({"epoch": epoch, "train/loss": loss.item(), "val/accuracy": accuracy})
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")
    torch.save(model.state_dict(), "model.pt")
    wandb.finish()


if __name__ == "__main__":
    main()
