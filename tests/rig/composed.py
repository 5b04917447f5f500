"""`docker compose` in a test's project folder, and the containers that it makes."""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.command import RUNNER
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder

BOTH = ("-f", "compose.yaml", "-f", "compose.cpu.yaml")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
DEAD_PROXIES = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
CALLERS = ("WANDB_API_KEY", "WANDB_BASE_URL", "RUNNER_SERVER")  # of the process that runs the tests


@dataclass(slots=True)
class Composed:
    """A folder with compose.yaml; Compose uses its name for the project."""

    folder: Folder
    engine: TestEngine
    client: Path | None = None  # DOCKER_CONFIG of another Compose

    @property
    def project(self) -> str:
        """Compose's name of the project."""
        return self.folder.root.name

    def compose(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> str:
        """Run `docker compose …`, which must succeed; return stdout and stderr together."""
        line = shlex.join(["docker", "compose", *arguments])
        return self.type(line, env=env, timeout_s=timeout_s)

    def type(
        self, line: str, *, env: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> str:
        """Run a command line, which must succeed; return stdout and stderr together."""
        process = self.start(line, env=env)
        said, _ = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, f"{line}: {process.returncode}\n{said}"
        return said

    def start(self, line: str, *, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a command line without waiting."""
        other = {"DOCKER_CONFIG": str(self.client)} if self.client else {}
        full = {**os.environ, **self.folder.env, **other, **(env or {})}
        for name in CALLERS:
            if name not in (env or {}):
                full.pop(name, None)
        return subprocess.Popen(
            [*self.folder.command[: -len(RUNNER)], *shlex.split(line)],
            cwd=self.folder.root,
            env=full,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self, container: str) -> int:
        """Wait for a container; return its exit code."""
        return int(self.engine.docker("wait", container))

    def containers(self) -> list[dict[str, Any]]:
        """All containers that Compose made here."""
        found = self.engine.docker(
            "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}"
        ).split()
        return list(json.loads(self.engine.docker("inspect", *found))) if found else []

    def shown(self, *files: str, env: Mapping[str, str] | None = None) -> str:
        """Everything that others can read: Compose's files, the engine's records, logs, `.env`."""
        text = self.compose(*files, "config", env=env) + json.dumps(self.containers())
        images = {box["Image"] for box in self.containers()}
        for image in images:
            text += self.engine.docker("history", "--no-trunc", image)
            text += self.engine.docker("image", "inspect", image)
        text += self.compose(*files, "logs", env=env)
        file = self.folder.root / ".env"
        return text + (file.read_text() if file.exists() else "")


@contextmanager
def composed_folder(engine: TestEngine, fleet: str, tags: dict[str, str]) -> Iterator[Composed]:
    """A plain project without compose.yaml; gives images these names and keeps them.

    Args:
        engine: runs the containers.
        fleet: also the name of the folder and of Compose's project.
        tags: name, image.
    """
    place = Path(
        tempfile.mkdtemp(prefix="runner-compose-")
    )  # other users cannot enter pytest's folder
    place.chmod(0o755)
    made = Composed(make_folder(place / fleet, fleet, engine.env), engine)
    if named := os.environ.get("RUNNER_TEST_COMPOSE"):  # printed by `docker/engine.sh compose`
        made.client = Path(named)
    for tag, image in tags.items():
        engine.docker("tag", image, tag)
    try:
        yield made
    finally:
        made.folder.env, made.folder.command = dict(engine.env), RUNNER
        if (made.folder.root / "compose.yaml").exists():
            made.compose("--profile", "*", "down", "--timeout", "1")
        engine.remove_fleet(fleet)
        if tags:
            engine.docker("rmi", *tags)
        shutil.rmtree(place)


def image_tags(fleet: str, plain_image: PlainImage, server_image: str) -> dict[str, str]:
    """The image names of compose.yaml in a folder of this name."""
    return {f"{fleet}-agent": plain_image.id, f"{fleet}-server": server_image}


def hand_over(root: Path, uid: int) -> None:
    """Give a folder and its content to this user."""
    for one in (root, *root.rglob("*")):
        os.chown(one, uid, uid, follow_symlinks=False)
