"""One of `examples/` in a folder of its own: run by `runner`, and by W&B's own agent."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder
from tests.rig.recorded import MOUNTED, Recorder, Start

SCRIPT = """
set -e
wandb sweep --project theirs sweep.yaml >/tmp/made 2>&1 || { cat /tmp/made; exit 1; }
sweep=$(sed -n 's/.*wandb agent //p' /tmp/made)
for _ in 1 2; do wandb agent $sweep & done
wait
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """The outcome of a sweep: the starts of its runs, and the runs on the server."""

    starts: tuple[Start, ...]
    runs: tuple[Mapping[str, Any], ...]  # as `sweep show --json` has them

    @property
    def first_starts(self) -> list[Start]:
        """Of each run the process that its agent started."""
        found: dict[str, Start] = {}
        for one in self.starts:
            if one.run is not None:
                found.setdefault(one.run, one)
        return list(found.values())

    @property
    def lines(self) -> list[tuple[tuple[str, ...], ...]]:
        """How every process of every run was started; in the order of the words."""
        return sorted((one.line, one.words) for one in self.starts if one.run is not None)

    @property
    def configs(self) -> list[str]:
        """That of each run, as text."""
        return sorted(json.dumps(one["config"], sort_keys=True) for one in self.runs)


@dataclass(frozen=True, slots=True)
class Example:
    """A copy of an example, outside of the clone."""

    name: str
    folder: Folder
    engine: TestEngine
    ours: Recorder
    theirs: Recorder

    @classmethod
    def make(
        cls, name: str, place: Path, fleet: str, engine: TestEngine, command: Path
    ) -> "Example":
        """Copy it; `command` is the command `runner` that works there."""
        root = shutil.copytree(ROOT / "examples" / name, place / f"lab-{name}")
        ours, theirs = Recorder.make(place / "ours"), Recorder.make(place / "theirs")
        env = {
            **engine.env,
            "RUNNER_FLEET": fleet,
            "RUNNER_RUN_MOUNTS": f"{ours.folder}:{MOUNTED}",
            "RUNNER_RUN_ENV": f"PYTHONPATH={MOUNTED}",
            "PYTHONPATH": "",
        }
        return cls(name, Folder(root, fleet, env, (str(command),)), engine, ours, theirs)

    @property
    def image(self) -> str:
        """The tag of its image."""
        if self.has_dockerfile:
            return f"runner-test/{self.folder.fleet}"
        record = self.folder.root / ".runner" / "cache" / "image.json"
        return str(json.loads(record.read_text())["tag"])

    @property
    def has_dockerfile(self) -> bool:
        """Whether it makes its image itself."""
        return (self.folder.root / "Dockerfile").exists()

    @property
    def image_environ(self) -> set[str]:
        """The names of the variables that its image sets."""
        text = self.engine.docker("inspect", "--format", "{{json .Config.Env}}", self.image)
        return {one.partition("=")[0] for one in json.loads(text)}

    @property
    def packages(self) -> list[str]:
        """The names of the Python packages in its image."""
        code = "import importlib.metadata as m; print(*(one.name for one in m.distributions()))"
        return self.engine.docker("run", "--rm", self.image, "python", "-c", code).split()

    def hash_files(self) -> dict[str, str]:
        """Of the files that its author wrote."""
        names = [one.relative_to(ROOT / "examples" / self.name) for one in self._files()]
        read = {str(name): (self.folder.root / name).read_bytes() for name in names}
        return {name: hashlib.sha256(content).hexdigest() for name, content in read.items()}

    def _files(self) -> list[Path]:
        return [one for one in (ROOT / "examples" / self.name).rglob("*") if one.is_file()]

    def build(self) -> list[str]:
        """Make its image, as its author would; the options with which `up` takes it."""
        if not self.has_dockerfile:
            self.folder.run("build", "--cpu")
            return []
        self.engine.docker("build", "--quiet", "--tag", self.image, str(self.folder.root))
        return ["--image", self.image]

    def up(self, *options: str) -> Seen:
        """Let two agents work off its sweep."""
        up = ("up", "--gpus", "cpu:2", "--sweep", "sweep.yaml", "--follow", *options)
        self.folder.run(*up)
        return Seen(tuple(self.ours.starts()), self._read_runs(self.folder.root.name))

    def run_wandb_agents(self) -> Seen:
        """Let two of W&B's agents do the same, in the same image and on the same server."""
        work = shutil.copytree(ROOT / "examples" / self.name, self.theirs.folder / "work")
        key = (self.folder.root / ".runner" / "secrets" / "server").read_text().strip()
        environ = {
            "HOME": "/tmp",
            "PYTHONPATH": MOUNTED,
            "WANDB_API_KEY": key,
            "WANDB_BASE_URL": "http://runner-server:8080",
        }
        self.engine.docker(
            *("run", "--rm", "--label", f"dev.runner.fleet={self.folder.fleet}"),
            *("--network", f"runner-{self.folder.fleet}", "--user", f"{os.getuid()}:{os.getgid()}"),
            *(word for name in environ.items() for word in ("--env", "=".join(name))),
            *("--volume", f"{self.theirs.folder}:{MOUNTED}", "--volume", f"{work}:/work"),
            *("--workdir", "/work", self.image, "sh", "-c", SCRIPT),
        )
        return Seen(tuple(self.theirs.starts()), self._read_runs("theirs"))

    def _read_runs(self, project: str) -> tuple[Mapping[str, Any], ...]:
        listed = self.folder.json("sweep", "list")["sweeps"]
        (sweep,) = [one["id"] for one in listed if one["path"].split("/")[1] == project]
        return tuple(self.folder.json("sweep", "show", sweep)["runs"])

    def remove_image(self) -> None:
        """Remove its image; the layers stay in the engine's cache."""
        names = (f"runner-{self.folder.root.name}", f"runner-test/{self.folder.fleet}")
        for name in names:
            listed = self.engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}", name)
            if tags := listed.split():
                self.engine.docker("rmi", "--force", *tags)
