"""Three users of one host, root and two others, on one engine: none gets at another's."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import PROGRAM, REQUIREMENTS, Folder, PlainImage
from tests.rig.relay import relay
from tests.rig.waiting import wait_for
from tests.runner.product.test_other_user import become

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.getuid() != 0, reason="root: only root can become another user"),
]
ALICE, BOB = 4242, 4243
LOOKS = (("ps",), ("config",), ("logs",), ("sweep", "list"), ("sync-offline", "--dry-run"))
ACTS = (
    ("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml"),
    ("stop",),
    ("down",),
    ("build", "--cpu"),
    ("compose", "--gpus", "cpu:1"),
    ("sync-offline",),
    ("init",),
)
TAKE = """
import sys
from pathlib import Path
from runner.agent.lease import Lease
from runner.agent.refusals import RefusedError
try:
    lease = Lease.take(Path(sys.argv[1]), sys.argv[2])
except RefusedError as error:
    sys.exit(str(error))
print("taken", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class User:
    """A user of the host, with a project in a home of their own."""

    uid: int
    home: Path
    folder: Folder

    def at(self, place: Path, **environ: str) -> Folder:
        """This user's command line in another folder."""
        return Folder(place, self.folder.fleet, self.folder.env | environ, self.folder.command)

    def may(self, *command: str) -> bool:
        """Whether a program of theirs, without any privilege, succeeds."""
        same = ("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        line = (*same, "--inh-caps=-all", *command)
        return not subprocess.run(line, capture_output=True, check=False, cwd="/").returncode


@pytest.fixture
def users(
    engine_env: TestEngine, plain_image: PlainImage, server_image: str
) -> Iterator[tuple[User, User]]:
    assert server_image
    host = engine_env.env["DOCKER_HOST"]
    if not host.startswith("unix://"):
        pytest.skip("own: the engine has no socket here")
    place = Path(tempfile.mkdtemp(prefix="runner-users-"))  # pytest's own is closed to others
    place.chmod(0o755)
    with ExitStack() as stack:
        made = []
        for uid in (ALICE, BOB):
            home = place / str(uid)
            root = home / "project"
            root.mkdir(parents=True)
            (root / "train.py").write_text(PROGRAM)
            (root / "requirements.txt").write_text(REQUIREMENTS)
            for one in (home, *home.rglob("*")):
                os.chown(one, uid, uid)
            socket = Path(host.removeprefix("unix://"))
            address = stack.enter_context(relay(socket, home / "docker.sock"))
            env = engine_env.env | {
                "DOCKER_HOST": address,
                "HOME": str(home),
                "XDG_STATE_HOME": "",
                "RUNNER_IMAGE_NAME": plain_image.id,
            }
            folder = Folder(root, f"test-users-{uid}-{os.getpid()}", env, command=become(uid))
            folder.write_sweep("sweep.yaml", "hold")
            made.append(User(uid, home, folder))
        try:
            yield made[0], made[1]
        finally:
            for user in made:
                for name in fleets_of(user):
                    engine_env.remove_fleet(name)
    shutil.rmtree(place)


def fleets_of(user: User) -> list[str]:
    shown = user.folder.root / ".runner" / "fleet"
    return [user.folder.json("ps")["fleet"]] if shown.exists() else []


def tree(root: Path) -> dict[str, str]:
    """Path → content of what lies in the project; the state's own clocks left out."""
    files = [one for one in sorted(root.rglob("*")) if one.is_file() and not one.is_symlink()]
    moving = {"agents", "status", "server"}
    steady = [one for one in files if not moving.intersection(one.parts)]
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in steady}


def call(folder: Folder, *words: str) -> tuple[int, str]:
    process = folder.start(*words)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, out + err


def containers(engine: TestEngine, fleet: str) -> str:
    filters = ("--filter", f"label=dev.runner.fleet={fleet}")
    return engine.docker("ps", "-a", *filters, "--format", "{{.ID}} {{.State}}")


def test_a_folder_serves_its_owner_alone(users: tuple[User, User], engine_env: TestEngine) -> None:
    """Bob's commands in Alice's project: refused with her name or as if nothing was there."""
    alice, bob = users
    alice.folder.run("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml")
    state = alice.folder.root / ".runner"
    [fleet] = fleets_of(alice)
    wait_for(lambda: [*state.glob("work/*/ready")])  # her run is under way and writes no more
    before, running = tree(alice.folder.root), containers(engine_env, fleet)

    for words in (*LOOKS, *ACTS):
        code, said = call(bob.at(alice.folder.root), *words)
        assert code, words
        line = "Permission denied" if words == ("init",) else f"belongs to #{ALICE}"
        assert line in said, (words, said)
    inner = alice.folder.root / "sub"
    inner.mkdir()
    os.chown(inner, BOB, BOB)
    _, shown = call(bob.at(inner), "ps")
    above = bob.at(alice.folder.root, RUNNER_HOME=str(state))
    refused, why = call(above, "down")
    inner.rmdir()

    assert fleet not in shown  # what lies above is another's, so it is not there
    assert (refused != 0, f"belongs to #{ALICE}" in why) == (True, True), why
    assert tree(alice.folder.root) == before
    assert containers(engine_env, fleet) == running
    keys = [one for one in state.rglob("*") if one.is_file() and "secrets" in one.parts]
    assert keys
    assert not any(bob.may("cat", str(one)) for one in keys)
    assert not bob.may("ls", str(state / "secrets"))
    assert not bob.may("touch", str(state / "x"))
    code, said = call(root_in(alice), *ACTS[0])
    assert code
    assert str(ALICE) in said  # root starts nothing in another's folder
    assert fleet in call(root_in(alice), "ps", "--json")[1]  # and sees what is there
    alice.folder.run("down")


def root_in(user: User) -> Folder:
    """Root's command line in this user's project."""
    home = str(user.home / "nowhere")
    env = user.folder.env | {"HOME": home, "DOCKER_HOST": user.folder.env["DOCKER_HOST"]}
    return Folder(user.folder.root, user.folder.fleet, env)


def test_the_engine_that_one_named_is_no_one_elses(users: tuple[User, User]) -> None:
    """It is kept for one user, and another's place does not count."""
    alice, bob = users
    alice.folder.run(*ACTS[0])
    kept = alice.home / ".local" / "state" / "runner"
    before = tree(kept)

    bob.at(bob.folder.root, XDG_STATE_HOME=str(kept.parent)).run(*ACTS[0])

    assert any("engines" in one for one in before)
    assert tree(kept) == before
    files = [one for one in kept.rglob("*") if one.is_file()]
    assert {one.stat().st_uid for one in files} == {ALICE}
    assert not any(bob.may("cat", str(one)) for one in files)
    alice.folder.run("down")
    bob.folder.run("down")


def test_a_lease_is_held_against_everybody(users: tuple[User, User]) -> None:
    """Whoever comes second is refused, root as well, and cannot take the file away."""
    leases = Path(tempfile.mkdtemp(prefix="runner-leases-"))
    leases.chmod(0o1777)
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    line = (python, "-c", TAKE, str(leases), "GPU-1234")
    same = ("setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups")
    code = copy_code()
    try:
        holder = subprocess.Popen(
            [*same, *line],
            env={"PYTHONPATH": str(code)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "taken\n"

        assert not users[1].may("env", f"PYTHONPATH={code}", *line)
        assert not users[1].may("rm", "-f", str(leases / "GPU-1234"))
        second = subprocess.run(
            line, env={"PYTHONPATH": str(code)}, capture_output=True, text=True, check=False
        )
        assert "is held by another agent" in second.stderr

        holder.communicate("")
        assert users[1].may("env", f"PYTHONPATH={code}", *line)
    finally:
        shutil.rmtree(leases)
        shutil.rmtree(code)


def copy_code() -> Path:
    """The agent's code where every user may read it."""
    place = Path(tempfile.mkdtemp(prefix="runner-code-"))
    place.chmod(0o755)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "runner" / "agent", place / "runner" / "agent", ignore=ignored)
    shutil.copy(ROOT / "runner" / "__init__.py", place / "runner")
    return place
