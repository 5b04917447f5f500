"""A private engine for a test to stop and kill: `docker/engine.sh` in another folder."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.engine import SCRIPT, TestEngine
from tests.rig.waiting import wait_for


@dataclass(frozen=True, slots=True)
class PrivateEngine:
    """An engine in `folder`, with links to the programs of an existing engine."""

    folder: Path

    @property
    def engine(self) -> TestEngine:
        """The engine for tests and commands."""
        path = f"{self.folder}/root/usr/bin:{os.environ['PATH']}"
        host, client = f"unix://{self.folder}/docker.sock", str(self.folder / "client")
        return TestEngine({"DOCKER_HOST": host, "DOCKER_CONFIG": client, "PATH": path}, None)

    def take_programs(self, other: Path) -> None:
        """Link the programs: fetching and unpacking them takes longer than the whole test."""
        self.folder.mkdir(parents=True)
        command = ["cp", "--archive", "--link", str(other / "root"), str(self.folder / "root")]
        subprocess.run(command, check=True)

    def call(self, command: str) -> None:
        """`docker/engine.sh up` or `down`."""
        bridge = f"rt{os.getpid() % 0xFFFFFF:x}"
        place = {"RUNNER_ENGINE_DIR": str(self.folder), "RUNNER_ENGINE_BRIDGE": bridge}
        # a daemon that starts removes the rules of all other engines: their ports, their networks
        env = {**place, "RUNNER_ENGINE_IPTABLES": "false"}
        done = subprocess.run(
            [str(SCRIPT), command],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the daemon and wait until it has ended."""
        pid = int((self.folder / "docker.pid").read_text())
        os.kill(pid, number)
        wait_for(
            lambda: not Path("/proc", str(pid)).exists() or _is_zombie(pid),
            otherwise=lambda: f"dockerd {pid} does not end",
        )

    def fill_disk(self, room: int) -> None:
        """Leave that many bytes on its disk."""
        data = str(self.folder / "data")
        free = int(self._inside("df", "--output=avail", "--block-size=1", data).split()[1])
        self._inside("fallocate", "--length", str(free - room), f"{data}/ballast")

    def free_disk(self) -> None:
        """Undo `fill_disk`."""
        self._inside("rm", str(self.folder / "data" / "ballast"))

    def _inside(self, *words: str) -> str:
        """Where the daemon sees its disk."""
        pid = (self.folder / "docker.pid").read_text()
        command = ["nsenter", "--mount", "--target", pid, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def load(self, source: TestEngine, *tags: str) -> None:
        """Copy images of another engine."""
        with subprocess.Popen(
            ["docker", "save", *tags], env=os.environ | source.env, stdout=subprocess.PIPE
        ) as save:
            load = ["docker", "load", "--quiet"]
            env = os.environ | self.engine.env
            subprocess.run(load, env=env, stdin=save.stdout, check=True, capture_output=True)


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return True


@contextmanager
def private_engine(first: TestEngine, *tags: str) -> Iterator[PrivateEngine]:
    """A second engine with these images of the first one, which is not touched."""
    folder = Path(first.env["DOCKER_HOST"].removeprefix("unix://")).parent
    if os.getuid() != 0:
        pytest.skip("root: only root can start an engine")
    if not (folder / "root/usr/sbin/dockerd").exists():
        pytest.skip(
            "own: the tests' engine is not of `docker/engine.sh`: its programs are not there"
        )
    before = first.docker("info", "--format", "{{.ID}}").strip()
    made = PrivateEngine(Path(f"/tmp/runner-private-{os.getpid()}"))
    try:
        made.take_programs(folder)
        made.call("up")
        made.load(first, *tags)
        yield made
    finally:
        made.call("down")
    assert not made.folder.exists()
    assert first.docker("info", "--format", "{{.ID}}").strip() == before
