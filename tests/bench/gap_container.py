"""How long a GPU idles between two runs in the default container, and where the time goes.

`python -m tests.bench.gap_container [--rounds 3] [--size 10] [--busy 1] [--threads N]
[--without-numpy]` (torch then warns when it is imported): as `tests.bench.gap`, in the image that
`runner build --cpu` makes, on the server of the folder: `wandb agent` by `docker run`, and the
agents that `runner up` starts, cold and warm.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.gap import PROGRAM, WAYS, Measured, show
from tests.rig.engine import TestEngine, find_engine
from tests.rig.plain import Folder

TIMES = "/times/times.jsonl"  # in the container
REQUIREMENTS = "wandb==0.31.0\ntorch\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the three ways and the largest parts of what is left."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=10, help="runs in each grid")
    parser.add_argument("--busy", type=float, default=1.0, help="seconds that a run trains")
    parser.add_argument("--threads", help="OMP_NUM_THREADS")
    parser.add_argument("--without-numpy", action="store_true")
    options = parser.parse_args(arguments)
    engine, measured = find_engine(), {way: Measured() for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="runner-gap-") as place:
        folder = make_project(Path(place), engine, options)
        try:
            folder.run("build", "--cpu")
            for number in range(options.rounds):
                for way in reversed(WAYS):  # with `up` comes the network
                    measured[way].add(work_off(folder, engine, way, options), [])
                    median = statistics.median(measured[way].gaps)
                    print(f"round {number + 1}, {way}: {median:.3f} s", flush=True)
        finally:
            engine.remove_fleet(folder.fleet)
            for image in engine.docker("images", "-q", f"runner-{folder.root.name}").split():
                engine.docker("rmi", "-f", image)
    show(measured)


def make_project(place: Path, engine: TestEngine, options: argparse.Namespace) -> Folder:
    """A program that writes its times into a folder of the host."""
    root, times = place / f"gap-{os.getpid()}", place / "times"
    root.mkdir()
    times.mkdir()
    values = ", ".join(str(0.01 * (1 + one)) for one in range(options.size))
    (root / "train.py").write_text(PROGRAM.format(busy=options.busy, log=TIMES, device="cpu"))
    more = "" if options.without_numpy else "numpy\n"
    (root / "requirements.txt").write_text(REQUIREMENTS + more)
    (root / "sweep.yaml").write_text(
        f"{{program: train.py, method: grid, parameters: {{lr: {{values: [{values}]}}}}}}\n"
    )
    fleet = f"gap-{os.getpid()}"
    env = {**engine.env, "RUNNER_FLEET": fleet}
    env["RUNNER_RUN_MOUNTS"] = f"{times}:{Path(TIMES).parent}"
    if options.threads:
        env["RUNNER_RUN_ENV"] = f"OMP_NUM_THREADS={options.threads}"
    return Folder(root, fleet, env)


def work_off(
    folder: Folder, engine: TestEngine, way: str, options: argparse.Namespace
) -> list[list[float]]:
    """A grid under one kind of agent: the times of its runs."""
    log = folder.root.parent / "times" / Path(TIMES).name
    log.write_text("")
    if way == WAYS[0]:
        run_wandb_agent(folder, engine, options)
    else:
        cold = ["--no-preload"] if way == WAYS[1] else []
        folder.run("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml", "--new", "--follow", *cold)
    runs: list[list[float]] = [json.loads(line) for line in log.read_text().splitlines()]
    if len(runs) != options.size:
        raise AssertionError(f"{way}: {len(runs)} runs")
    return runs


def run_wandb_agent(folder: Folder, engine: TestEngine, options: argparse.Namespace) -> None:
    """W&B's own agent in the same image, with the same server and files."""
    made = folder.json("sweep", "create", "sweep.yaml")
    key = (folder.root / ".runner" / "secrets" / "server").read_text().strip()
    image = json.loads((folder.root / ".runner" / "cache" / "image.json").read_text())["tag"]
    environ = {
        "HOME": "/tmp",
        "WANDB_API_KEY": key,
        "WANDB_BASE_URL": "http://runner-server:8080",
        "WANDB_SILENT": "true",
        **({"OMP_NUM_THREADS": options.threads} if options.threads else {}),
    }
    engine.docker(
        *("run", "--rm", "--network", f"runner-{folder.fleet}"),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
        *(word for name in environ.items() for word in ("--env", "=".join(name))),
        *("--volume", f"{folder.root.parent / 'times'}:{Path(TIMES).parent}"),
        *("--volume", f"{folder.root}:/work", "--workdir", "/work"),
        *(image, "wandb", "agent", made["path"]),
    )


if __name__ == "__main__":
    main()
