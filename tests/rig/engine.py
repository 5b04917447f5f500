"""Find the Docker engine for tests (never start it), and remove what tests made on it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker.client import DockerClient

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker" / "engine.sh"
TINY = "runner-test/tiny"  # Python and busybox; `engine.sh base --tiny` makes it
FLEET_LABEL = "dev.runner.fleet"
_HINT = "start one: docker/engine.sh up"


class NoEngineError(Exception):
    """No engine answers, or it lacks what a test needs; the message says why."""


@dataclass(frozen=True, slots=True)
class TestEngine:
    """An engine that answered."""

    __test__ = False  # pytest: the name starts with Test

    env: dict[str, str]  # makes docker, compose and docker-py use it
    cdi_folder: Path | None  # for CDI specs; None if CDI is off or the folder is not ours
    hooks: Path | None = None  # of tests/rig/hooks; None if the engine does not call them
    newer: Path | None = None  # DOCKER_CONFIG of a later Compose

    def client(self) -> "DockerClient":
        """A new client, which the caller must close."""
        from docker.client import DockerClient  # here: unmarked tests need no docker

        return DockerClient.from_env(environment=os.environ | self.env)

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run Docker's command line tool; return its stdout."""
        command = ["docker", *arguments]
        env = os.environ | self.env
        done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def gateway(self) -> str:
        """The host's address on the engine's own bridge: every container reaches it."""
        address = "{{(index .IPAM.Config 0).Gateway}}"
        return self.docker("network", "inspect", "bridge", "--format", address).strip()

    def remove_fleet(self, fleet: str) -> None:
        """Remove every container and network of this fleet."""
        label = f"{FLEET_LABEL}={fleet}"
        if ids := self.docker("ps", "-aq", "--filter", f"label={label}").split():
            self.docker("rm", "-f", "-v", *ids)
        names = ("network", "ls", "--format", "{{.Name}}")
        networks = set(self.docker(*names, "--filter", f"label={label}").split())
        networks |= {f"runner-{fleet}"} & set(self.docker(*names).split())
        if networks:
            self.docker("network", "rm", *networks)


def find_engine() -> TestEngine:
    """The engine of `DOCKER_HOST`, else the one of `docker/engine.sh`.

    Raises:
        NoEngineError: none answers.
    """
    host = os.environ.get("DOCKER_HOST")
    folder = Path(os.environ.get("RUNNER_ENGINE_DIR", "/tmp/runner-engine"))
    if host is None and not (folder / "docker.sock").exists():
        raise NoEngineError(f"no engine: DOCKER_HOST is not set, no {folder}/docker.sock; {_HINT}")
    env = {"DOCKER_HOST": host or f"unix://{folder}/docker.sock"}
    if env["DOCKER_HOST"] != f"unix://{folder}/docker.sock":
        return TestEngine(env, _find_cdi_folder(env))
    path = f"{folder}/root/usr/bin:{os.environ['PATH']}"
    env |= {"DOCKER_CONFIG": str(folder / "client"), "PATH": path}
    hooks, newer = folder / "hooks", folder / "newer"
    return TestEngine(
        env,
        _find_cdi_folder(env),
        hooks if (hooks / "nvidia-container-runtime-hook").exists() else None,
        newer if newer.exists() else None,
    )


def _find_cdi_folder(env: dict[str, str]) -> Path | None:
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{json .}}"],
            env=os.environ | env,
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
    except FileNotFoundError:
        raise NoEngineError("no engine: there is no `docker` on PATH") from None
    except subprocess.TimeoutExpired:
        raise NoEngineError(f"no engine: {env['DOCKER_HOST']} does not answer") from None
    info = json.loads(done.stdout or "{}")
    if "ServerVersion" not in info or not info["ServerVersion"]:
        raise NoEngineError(f"no engine at {env['DOCKER_HOST']}: {done.stderr.strip()}; {_HINT}")
    folders = [Path(one) for one in info.get("CDISpecDirs") or ()]
    return next((one for one in folders if one.is_dir() and os.access(one, os.W_OK)), None)
