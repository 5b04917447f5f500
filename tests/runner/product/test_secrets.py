"""Keys are where they must be, and nowhere else: looked for byte by byte while a fleet runs."""

import base64
import os
import secrets
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine


class Scan:
    """The keys in every form in which they could leak."""

    def __init__(self, *keys: str) -> None:
        tokens = [base64.b64encode(f"api:{key}".encode()) for key in keys]
        self._needles = [*(key.encode() for key in keys), *tokens]
        self._longest = max(map(len, self._needles))

    def finds(self, data: bytes) -> bool:
        """Whether one of them is in there."""
        return any(needle in data for needle in self._needles)

    def finds_in(self, stream: IO[bytes]) -> bool:
        """Likewise, of any length."""
        rest = b""
        while chunk := stream.read(1 << 24):
            if self.finds(rest + chunk):
                return True
            rest = chunk[-self._longest :]
        return False


@pytest.fixture
def folder(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path, fleet: str
) -> Iterator[Folder]:
    """A project whose user has a W&B key, in the environment and in files that lie about."""
    assert plain_image  # its layers are in the engine's cache
    key = secrets.token_hex(20)
    made = make_folder(tmp_path / "careless", fleet, engine_env.env | {"WANDB_API_KEY": key})
    netrc = f"machine api.wandb.ai login user password {key}\n"
    for name, text in {".netrc": netrc, ".env": f"WANDB_API_KEY={key}\n", "note": fleet}.items():
        (made.root / name).write_text(text)
    yield made
    images = engine_env.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "runner-careless")
    if tags := images.split():
        engine_env.docker("rmi", "--force", *tags)


def read_processes(name: str) -> dict[int, bytes]:
    """A file of every process of this machine."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found[int(process.name)] = (process / name).read_bytes()
        except OSError:  # it has gone, or is not ours to read
            continue
    return found


def read_log(engine_env: TestEngine, container: str) -> str:
    """Both streams of a container."""
    command = ["docker", "logs", container]
    env = os.environ | engine_env.env
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def find_files(scan: Scan, files: Iterable[Path]) -> list[str]:
    """Those that hold a key."""
    found = []
    for file in files:
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as stream:
                found += [str(file)] if scan.finds_in(stream) else []
    return found


def test_keys_are_found_nowhere_but_in_a_run_and_in_their_files(
    folder: Folder, engine_env: TestEngine, fleet: str
) -> None:
    """Containers, images with their layers, the network, processes, logs, the state folder.

    A warm run gets its variables when it exists already: no process was started with a key.
    """
    image = folder.json("build", "--cpu")
    sweep = folder.write_sweep("sweep.yaml", "wandb", "hold")
    folder.run("up", "--gpus", "cpu", "--sweep", sweep, "--server", "local")
    state = folder.root / ".runner"
    wait_for(
        (state / "work" / f"{fleet}-cpu-0" / "ready").exists
    )  # the first run has logged and ended
    own = (state / "secrets" / "server").read_text().strip()
    scan = Scan(own, folder.env["WANDB_API_KEY"])
    boxes = engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}").split()
    server = engine_env.docker("inspect", "--format", "{{.Image}}", f"runner-{fleet}-server")
    images = [image["tag"], server.strip()]

    environments = read_processes("environ")
    commands = read_processes("cmdline")
    told = engine_env.docker("inspect", *boxes, *images, f"runner-{fleet}")
    history = [engine_env.docker("history", "--no-trunc", one) for one in images]
    logs = [read_log(engine_env, one) for one in boxes]
    with subprocess.Popen(
        ["docker", "save", *images], env=os.environ | engine_env.env, stdout=subprocess.PIPE
    ) as save:
        assert save.stdout is not None
        in_layers = scan.finds_in(save.stdout)
    files = [one for one in state.rglob("*") if state / "secrets" not in one.parents]
    in_files = find_files(scan, files)
    modes = {one: one.stat().st_mode & 0o777 for one in (state / "secrets").rglob("*")}
    folder.run("stop")
    folder.run("down")

    assert len(boxes) == 2
    assert all(logs)
    assert not any(map(scan.finds, [told.encode(), *map(str.encode, (*history, *logs))]))
    assert not in_layers
    assert in_files == []
    assert [pid for pid, command in commands.items() if scan.finds(command)] == []
    assert [commands[pid] for pid, environ in environments.items() if scan.finds(environ)] == []
    folders = {state / "secrets" / "agents": 0o700}
    keys = {state / "secrets" / "server": 0o600, state / "secrets/agents" / f"{fleet}-cpu-0": 0o400}
    assert modes == folders | keys
    assert not list((state / "secrets" / "agents").iterdir())  # `down` took them


def test_of_all_processes_only_a_run_that_starts_cold_has_a_key(
    folder: Folder, plain_image: PlainImage, fleet: str
) -> None:
    folder.use_image(plain_image)
    (folder.root / "runner.toml").write_text('[run]\npreload = ["off"]\n')
    sweep = folder.write_sweep("sweep.yaml", "wandb", "hold")
    folder.run("up", "--gpus", "cpu", "--sweep", sweep, "--server", "local")
    state = folder.root / ".runner"
    wait_for((state / "work" / f"{fleet}-cpu-0" / "ready").exists)
    own = (state / "secrets" / "server").read_text().strip()
    scan = Scan(own, folder.env["WANDB_API_KEY"])

    environments = read_processes("environ")
    commands = read_processes("cmdline")
    folder.run("stop")
    folder.run("down")

    [holder] = [pid for pid, environ in environments.items() if scan.finds(environ)]
    assert b"train.py" in commands[holder]
    assert Scan(own).finds(environments[holder])
