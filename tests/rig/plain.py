"""A plain project for tests, and calls of `runner` in its folder."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rig.command import ROOT, RUNNER
from tests.rig.warm import shared_runner

REQUIREMENTS = "wandb==0.31.0\n"

# One program for all tests: the sweep's parameter `mode` decides what a run does.
PROGRAM = """
import json, os, pathlib, signal, sys, time

mode = next(one.partition("=")[2] for one in sys.argv if one.startswith("--mode="))
if mode in ("wandb", "killed"):
    import wandb
    run = wandb.init()
    for step in range(3):
        run.log({"loss": 1.0 / (step + 1)}, step=step)
    if mode == "killed":
        time.sleep(3)  # what was logged is on its way
        os.kill(os.getpid(), signal.SIGKILL)
    run.finish()
if mode in ("look", "glance"):
    sys.path.insert(0, "/opt/runner")
    import pynvml
    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    seen = {"nvml": [pynvml.nvmlDeviceGetUUID(one) for one in handles], "env": dict(os.environ)}
    seen["folders"], seen["written"] = {}, []
    for folder in map(pathlib.Path, ("/status", "/orders", "/leases", "/run/runner-root", "/")):
        try:
            names = [one.name for one in folder.iterdir()] if folder.name else []
            seen["folders"][str(folder)] = sorted(names)
            (folder / "mine").touch()
            (folder / "mine").unlink()
            seen["written"].append(str(folder))
        except OSError as error:
            seen["folders"].setdefault(str(folder), error.strerror)
    pathlib.Path("seen.new").write_text(json.dumps(seen))
    pathlib.Path("seen.new").rename("seen.json")
if mode in ("hold", "look"):
    checkpoint = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"], "last.pt")

    def save(*_):
        checkpoint.write_text("saved")
        sys.exit(75)

    signal.signal(signal.SIGTERM, save)
    pathlib.Path("ready").touch()
    time.sleep(120)
if mode.startswith("patient"):  # however often it is interrupted, until it may end
    folder = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"])
    with (folder / "attempts").open("a") as file:
        file.write(os.environ.get("WANDB_RESUME", "first") + "\\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    while not (folder.parent / "finish").exists():
        time.sleep(0.1)
if mode == "steady":  # ten rows; continues behind the last one that is saved and sent
    import wandb
    saved = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"], "row")
    run = wandb.init()
    done = int(saved.read_text()) if saved.exists() else 0
    for step in range(min(done, run.starting_step), 10):
        run.log({"loss": 1.0 / (step + 1)}, step=step)
        time.sleep(0.2)
        saved.with_suffix(".new").write_text(str(step + 1))
        saved.with_suffix(".new").rename(saved)
    run.finish()
if mode == "short":
    pathlib.Path("ready").touch()
    time.sleep(4)
"""


@dataclass(frozen=True, slots=True)
class PlainImage:
    """The image of the plain project, and its record for state folders."""

    record: dict[str, Any]

    @property
    def id(self) -> str:
        """`sha256:…`."""
        return str(self.record["id"])


@dataclass(slots=True)
class Folder:
    """A test's project folder, to call `runner` in as a user does."""

    root: Path
    fleet: str
    env: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = RUNNER

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `runner …` without waiting."""
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_SERVER": "local", **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int | None = 0) -> tuple[str, str]:
        """Run `runner …`, which must end with `code`; return stdout and stderr."""
        if self.command == RUNNER and "PYTHONPATH" not in self.env:  # otherwise it runs other code
            env = {**os.environ, "RUNNER_SERVER": "local", **self.env}
            done = shared_runner().run(*arguments, cwd=self.root, env=env, timeout_s=240)
            out, err, ended = done.stdout, done.stderr, done.returncode
        else:
            process = self.start(*arguments)
            out, err = process.communicate(timeout=240)
            ended = process.returncode
        assert code in (None, ended), f"runner {arguments}: {ended}\n{out}\n{err}"
        return out, err

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The object that `runner … --json` prints."""
        end = arguments.index("--") if "--" in arguments else len(arguments)
        asked = (*arguments[:end], "--json", *arguments[end:])
        value = json.loads(self.run(*asked, code=code)[0])
        assert isinstance(value, dict)
        return value

    def write_sweep(self, name: str, *modes: str) -> str:
        """Write a sweep file with a grid over `modes`; return its name."""
        values = ", ".join(modes)
        text = f"program: train.py\nmethod: grid\nparameters: {{mode: {{values: [{values}]}}}}\n"
        (self.root / name).write_text(text)
        return name

    def use_image(self, image: PlainImage) -> None:
        """Write the record that `runner build --cpu` would write."""
        cache = self.root / ".runner" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "image.json").write_text(json.dumps(image.record))


def make_folder(root: Path, fleet: str, env: dict[str, str]) -> Folder:
    """A plain project with a state folder for this fleet."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.py").write_text(PROGRAM)
    (root / "requirements.txt").write_text(REQUIREMENTS)
    (root / ".runner").mkdir(exist_ok=True)
    (root / ".runner" / "fleet").write_text(json.dumps({"format": 1, "name": fleet}))
    return Folder(root, fleet, dict(env))
