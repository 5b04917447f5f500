"""Fits a function with two processes that average their gradients: run it with torchrun."""

import argparse
import os

import torch
import torch.distributed as dist
import wandb
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()

    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, local_rank = dist.get_rank(), int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")

    torch.manual_seed(0)
    x = torch.rand(2048, 1) * 2 - 1
    data = TensorDataset(x, torch.sin(4 * x))
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=64, sampler=sampler)
    model = nn.Sequential(nn.Linear(1, args.width), nn.Tanh(), nn.Linear(args.width, 1)).to(device)
    model = DistributedDataParallel(model, device_ids=[local_rank] if cuda else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    if rank == 0:
        wandb.init(project="ddp", config={**vars(args), "world_size": dist.get_world_size()})
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        total = torch.zeros(1, device=device)
        for inputs, wanted in loader:
            loss = nn.functional.mse_loss(model(inputs.to(device)), wanted.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        if rank == 0:
            mean = total.item() / len(loader) / dist.get_world_size()
            wandb.log({"epoch": epoch, "loss": mean})
            print(f"epoch {epoch}: loss {mean:.4f}", flush=True)
    if rank == 0:
        torch.save(model.module.state_dict(), "model.pt")
        wandb.finish()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
