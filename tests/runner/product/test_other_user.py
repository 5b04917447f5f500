"""The whole way as a user who is not root, whom the machine does not even know by name."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage
from tests.rig.relay import relay

pytestmark = pytest.mark.engine

UID = 4242


@pytest.fixture
def folder(engine_env: TestEngine, plain_image: PlainImage, fleet: str) -> Iterator[Folder]:
    """A project of this user, with an engine that is there and settings of Docker that are not."""
    assert plain_image  # what the build here finds in the engine's cache
    host = engine_env.env["DOCKER_HOST"]
    if os.getuid() != 0:
        pytest.skip("root: only root can become another user")
    if not host.startswith("unix://"):
        pytest.skip("own: the engine has no socket here")
    place = Path(tempfile.mkdtemp(prefix="runner-4242-"))  # pytest's own is closed to others
    (place / "other").mkdir()
    shutil.copytree(ROOT / "examples" / "plain", place / "other", dirs_exist_ok=True)
    (place / "other" / "notes.txt").write_text(fleet)  # so that there is something to build
    (place / "home").mkdir()
    for one in (place, *place.rglob("*")):
        os.chown(one, UID, UID)
    with relay(Path(host.removeprefix("unix://")), place / "docker.sock") as address:
        env = engine_env.env | {
            "DOCKER_HOST": address,
            "HOME": str(place / "home"),
            "XDG_STATE_HOME": "",
            "RUNNER_FLEET": fleet,
        }
        yield Folder(place / "other", fleet, env, command=become(UID))
    shutil.rmtree(place)


def become(uid: int) -> tuple[str, ...]:
    """`runner` as another user, who may read where our interpreter lies and nothing more."""
    same = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    runner = (sys.executable, "-m", "runner")
    if all(one.stat().st_mode & 0o001 for one in Path(sys.executable).resolve().parents):
        return (*same, "--inh-caps=-all", *runner)
    only = "-all,+dac_read_search"
    caps = (f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}")
    return (*same, *caps, *runner)


def test_everything_works_and_belongs_to_the_user(
    folder: Folder, engine_env: TestEngine, fleet: str
) -> None:
    """init, build, up, best, ps, logs, down; all files are the user's."""
    folder.run("init")
    image = folder.json("build", "--cpu")
    ask = ("up", "--gpus", "cpu:2", "--sweep", "sweep.yaml", "--count", "1", "--follow")
    folder.run(*ask)

    agents = [one["name"] for one in folder.json("ps")["agents"]]
    best, _ = folder.run("sweep", "best", folder.json("sweep", "list")["sweeps"][0]["id"])
    logs, _ = folder.run("logs")
    folder.run("down")
    engine_env.docker("rmi", image["tag"])

    assert image["built"]
    assert agents == [f"{fleet}-cpu-0", f"{fleet}-cpu-1"]
    assert "rate: " in best
    assert f"{agents[0]} | " in logs
    work = folder.root / ".runner" / "work"
    assert all((work / agent / "line.txt").is_file() for agent in agents)
    state = [folder.root / ".runner", *(folder.root / ".runner").rglob("*")]
    assert [one for one in state if one.lstat().st_uid != UID] == []
    assert Path(folder.env["HOME"], ".local/state/runner/buildx").is_dir()
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
