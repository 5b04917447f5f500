"""Commands that only look, and dry runs, leave every file as it was; most start nothing either."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.generate import read_commands, read_options
from tests.rig.cloud import Cloud, start_cloud
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder

pytestmark = pytest.mark.engine

# what changes something and has no dry run
CHANGING = {"serve", "server backup", "server key create", "server key revoke"}
NO_FLEET = 3
MAY_FAIL = {
    "doctor": 6,
    "gpus": 6,  # what this machine lacks is theirs to say
    "server check": 1,  # of a server that runs
}
SWEEP = """\
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {mode: {values: [X]}}
"""


def tree(*roots: Path) -> dict[str, tuple[int, int, str]]:
    """Path → mode, time of change and content of all that lies below, folders among them."""
    found = {}
    for root in roots:
        for file in [root, *sorted(root.rglob("*"))]:
            status = file.lstat()
            whole = file.is_file() and not file.is_symlink()
            digest = hashlib.sha256(file.read_bytes()).hexdigest() if whole else ""
            found[str(file)] = (status.st_mode, status.st_mtime_ns, digest)
    return found


def key_of(cloud: Cloud) -> dict[str, str]:
    """What names the target of `sync-offline` and its key."""
    named = {"WANDB_BASE_URL": cloud.url, "WANDB_API_KEY": cloud.key}
    return {**named, "SSL_CERT_FILE": str(cloud.ca_file)}


def reading_commands(sweep: str) -> dict[str, tuple[str, ...]]:
    """Each command of the command line as one that only looks."""
    up = ("up", "--dry-run", "--gpus", "cpu:2", "--sweep")
    return {
        "build": ("build", "--cpu", "--dry-run"),
        "compose": ("compose", "--gpus", "cpu:1", "--dry-run"),
        "config": ("config",),
        "doctor": ("doctor",),
        "down": ("down", "--dry-run"),
        "env": ("env",),
        "gpus": ("gpus",),
        "init": ("init", "--dry-run"),
        "logs": ("logs",),
        "ps": ("ps",),
        "prune": ("prune", "--dry-run"),
        "run": ("run", "--gpus", "cpu:1", "--dry-run", "--", "true"),
        "server check": ("server", "check"),
        "server key list": ("server", "key", "list"),
        "server prune": ("server", "prune", "--older-than", "1d", "--dry-run"),
        "server status": ("server", "status"),
        "server usage": ("server", "usage"),
        "stop": ("stop", "--dry-run"),
        "sweep best": ("sweep", "best", sweep),
        "sweep create": ("sweep", "create", "sweep.yaml", "--dry-run"),
        "sweep delete": ("sweep", "delete", sweep, "--dry-run"),
        "sweep list": ("sweep", "list"),
        "sweep show": ("sweep", "show", sweep),
        "sync-offline": ("sync-offline", "--dry-run"),
        "up": (*up, "sweep.yaml"),
    }


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Where `sync-offline` would send."""
    with start_cloud(tmp_path_factory.mktemp("cloud"), lag_s=0.0, limit_every=0) as started:
        yield started


@pytest.fixture(scope="module")
def folder(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Folder]:
    """A project with a built image, a sweep on its running server, and one ended agent."""
    root, home = tmp_path_factory.mktemp("reading"), tmp_path_factory.mktemp("home")
    name = f"test-reading-{os.getpid()}"
    made = make_folder(root / "plain", name, {**engine_env.env, "HOME": str(home)})
    made.use_image(plain_image)
    (made.root / "sweep.yaml").write_text(SWEEP.replace("X", "wandb"))
    made.run("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml", "--follow")
    yield made
    engine_env.remove_fleet(name)


@pytest.fixture(scope="module")
def sweep(folder: Folder) -> str:
    """The sweep's path."""
    return str(folder.json("sweep", "list")["sweeps"][0]["path"])


def test_every_command_is_tried_below() -> None:
    commands = list(read_commands())

    assert {one.path for one in commands} - CHANGING == set(reading_commands("x"))
    for one in commands:
        if "--dry-run" in read_options(one):
            assert "--dry-run" in reading_commands("x")[one.path]


@pytest.mark.parametrize("name", sorted(reading_commands("x")))
def test_no_file_changes(
    folder: Folder, engine_env: TestEngine, cloud: Cloud, sweep: str, name: str
) -> None:
    """Neither in the project, nor in its state, nor in the caller's home, nor in `/var/tmp`."""
    roots = (folder.root, Path(folder.env["HOME"]))
    caller = Folder(folder.root, folder.fleet, {**folder.env, **key_of(cloud)})
    mine = ("ps", "-aq", "--no-trunc", "--filter", f"label=dev.runner.fleet={folder.fleet}")
    before, containers = tree(*roots), engine_env.docker(*mine)

    process = caller.start(*reading_commands(sweep)[name])
    out, err = process.communicate(timeout=120)

    assert "Traceback" not in err
    assert process.returncode in (0, MAY_FAIL.get(name)), (out, err)
    assert tree(*roots) == before
    assert engine_env.docker(*mine) == containers
    assert not list(Path("/var/tmp").glob(f"runner-*-{folder.fleet}"))


@pytest.mark.parametrize("name", sorted(reading_commands("x")))
def test_a_folder_without_a_state_gets_none(
    engine_env: TestEngine, cloud: Cloud, tmp_path: Path, name: str
) -> None:
    root, home = tmp_path / "project", tmp_path / "home"
    for one in (root, home):
        one.mkdir()
    (root / "train.py").write_text("import wandb\nwandb.init()\n")
    (root / "requirements.txt").write_text("wandb\n")
    (root / "sweep.yaml").write_text(SWEEP)
    before = tree(tmp_path)
    caller = Folder(root, "", {**engine_env.env, "HOME": str(home), **key_of(cloud)})

    process = caller.start(*reading_commands("abc123")[name])
    _, err = process.communicate(timeout=120)

    assert "Traceback" not in err
    assert process.returncode in (0, NO_FLEET, MAY_FAIL.get(name)), err
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("ps",), 0, ""),
        (("logs",), 0, ""),
        (("stop",), 0, ""),
        (("server", "status"), 0, ""),
        (
            ("env",),
            3,
            "error: this folder's sweep server is not running\nhint: `runner sweep create`",
        ),
    ],
)
def test_no_server_is_built_or_started(
    engine_env: TestEngine,
    tmp_path: Path,
    fleet: str,
    command: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """Neither container nor network, nor a key for a server that is not there."""
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)

    _, told = folder.run(*command, code=code)

    assert said in told
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
    assert f"runner-{fleet}" not in engine_env.docker("network", "ls")
    assert not (folder.root / ".runner" / "secrets").exists()


def test_a_sweep_is_asked_for_where_its_server_is_down(
    engine_env: TestEngine, tmp_path: Path, fleet: str
) -> None:
    """Of what a look may do this alone: start this folder's own server, and say so."""
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    (folder.root / ".runner" / "engine.json").write_text(json.dumps({}))

    out, said = folder.run("sweep", "list")

    assert out == "no sweeps yet\n"
    assert "sweep server: http://127.0.0.1:" in said
    assert json.loads((folder.root / ".runner" / "engine.json").read_text()) == {}
