"""Reduces a picture to a few colours with k-means; logs pictures and tables."""

import argparse

import numpy as np
import pandas as pd
import wandb
from PIL import Image


def make_picture(size=64):
    y, x = np.mgrid[0:size, 0:size] / size
    wave = np.sin(8 * x + 5 * np.sin(4 * y))
    return np.stack([x, y, (wave + 1) / 2], axis=-1)


def choose(pixels, count, init, rng):
    if init == "random":
        return pixels[rng.choice(len(pixels), count, replace=False)]
    chosen = [pixels[rng.integers(len(pixels))]]
    while len(chosen) < count:
        nearest = np.min([((pixels - one) ** 2).sum(1) for one in chosen], axis=0)
        chosen.append(pixels[nearest.argmax()])
    return np.array(chosen)


def as_image(picture, caption):
    return wandb.Image(Image.fromarray((255 * picture).astype(np.uint8)), caption=caption)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, default=4)
    parser.add_argument("--init", choices=["random", "spread"], default="random")
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()

    run = wandb.init(project="colours", config=vars(args))
    picture = make_picture()
    pixels = picture.reshape(-1, 3)
    colours = choose(pixels, args.clusters, args.init, np.random.default_rng(0))
    history = []
    for step in range(args.steps):
        distance = ((pixels[:, None] - colours) ** 2).sum(-1)
        nearest = distance.argmin(1)
        for index in range(args.clusters):
            if (nearest == index).any():
                colours[index] = pixels[nearest == index].mean(0)
        error = distance.min(1).mean()
        history.append({"step": step, "error": error})
        reduced = colours[nearest].reshape(picture.shape)
        run.log({"error": error, "picture": as_image(reduced, f"{args.clusters} colours")})

    palette = wandb.Table(columns=["colour", "red", "green", "blue", "share"])
    for index, (red, green, blue) in enumerate(colours):
        swatch = np.full((16, 16, 3), colours[index])
        palette.add_data(as_image(swatch, ""), red, green, blue, (nearest == index).mean())
    run.log({"palette": palette, "history": wandb.Table(dataframe=pd.DataFrame(history))})
    Image.fromarray((255 * reduced).astype(np.uint8)).save("reduced.png")
    run.finish()


if __name__ == "__main__":
    main()
