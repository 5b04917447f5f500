"""Builds amt's CUDA image over the base that the engine has, and prints what came out.

`make bench-cuda` (about 3 GB of wheels): build time, size, and torch's own word on its CUDA.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = "import torch, timm, wandb; print(torch.__version__, torch.version.cuda, timm.__version__)"


def main() -> None:
    """Build with `--cuda 13`, then ask the image."""
    runner = str(Path(sys.executable).parent / "runner")
    start = time.monotonic()
    built = subprocess.run(
        [runner, "build", "--cuda", "13", "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds = time.monotonic() - start
    image = json.loads(built.stdout)
    asked = [
        *("docker", "run", "--rm", "--network", "none", "--entrypoint", "/opt/venv/bin/python"),
        *(image["tag"], "-c", SCRIPT),
    ]
    versions = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    size = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", image["tag"]],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(f"image {image['tag']}, built in {seconds:.0f} s, {int(size.stdout) / 1e9:.2f} GB")
    print("torch {}, torch.version.cuda {}, timm {}".format(*versions))


if __name__ == "__main__":
    main()
