"""Every command in each hostile repository: none of it runs here, nothing of mine goes to it."""

import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import PlainImage
from tests.rig.warm import WarmRunner
from tests.rig.watch import watched
from tests.runner.guard.every_command import SERVE, find_untyped, serve_briefly
from tests.runner.guard.repositories import (
    REPOSITORIES,
    Scene,
    describe,
    make_home,
    make_repository,
)

KEY = "k" * 40  # the user's, for W&B's cloud
LOOKS: tuple[tuple[str, ...], ...] = (
    ("gpus",),
    ("ps",),
    ("ps", "--json"),
    ("logs", "-n", "1"),
    ("config",),
    ("config", "--json"),
    ("env",),
    ("server", "status"),
    ("sweep", "list"),
    ("sweep", "show", "abc123"),
    ("sweep", "best", "abc123"),
    ("sweep", "delete", "abc123", "--dry-run"),
    ("server", "check"),
    ("init", "--dry-run"),
    ("build", "--cpu", "--dry-run"),
    ("sweep", "create", "--dry-run"),
    ("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml", "--dry-run"),
    ("run", "--gpus", "cpu:1", "--dry-run", "--", "true"),
    ("prune", "--dry-run"),
    ("stop", "--dry-run"),
    ("down", "--dry-run"),
    ("compose", "--gpus", "cpu:1", "--dry-run"),
    ("sync-offline", "--dry-run"),
    ("sync-offline", "--dry-run", "wandb"),
    ("doctor",),
)
ACTS: tuple[tuple[str, ...], ...] = (
    ("init",),
    ("compose", "--gpus", "cpu:1"),
    ("sweep", "create"),
    ("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml"),
    ("run", "--gpus", "cpu:1", "--", "true"),
    ("ps",),
    ("logs", "-n", "1"),
    ("sweep", "show", "SWEEP"),
    ("sweep", "best", "SWEEP"),
    ("server", "usage"),
    ("server", "key", "create", "--read-only"),
    ("server", "key", "list"),
    ("server", "key", "revoke", "abc123"),
    ("server", "prune", "--older-than", "1d", "--yes"),
    ("server", "backup", "backup.tar"),
    ("sync-offline",),
    ("sweep", "delete", "SWEEP", "--force", "--yes"),
    ("prune",),  # nobody answers its question: other tests use the engine
    ("stop",),
    ("down",),
    ("server", "check", "--repair"),
    ("build", "--cpu"),
)
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(slots=True)
class Listener:
    """A server of the stranger's: it notes who knocks and answers nothing."""

    url: str
    knocks: list[bytes] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        found = Listener(f"http://127.0.0.1:{door.getsockname()[1]}")

        def serve() -> None:
            while True:
                try:
                    guest, _ = door.accept()
                except OSError:
                    return
                with guest:
                    guest.settimeout(0.5)
                    try:
                        found.knocks.append(guest.recv(65536))
                    except OSError:
                        found.knocks.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        yield found
        door.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def evil() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def scene(tmp_path: Path, evil: Listener) -> Scene:
    made = Scene(tmp_path / "repository", tmp_path / "home", tmp_path / "mark", evil.url)
    made.folder.mkdir()
    make_home(made.outside)
    return made


def environ(scene: Scene, env: dict[str, str]) -> dict[str, str]:
    """The user's environment, with `env`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(scene.outside),
        "XDG_STATE_HOME": str(scene.outside.parent / "state"),
        "WANDB_API_KEY": KEY,
        **env,
    }


def find_sweep(scene: Scene) -> str:
    """The ID of a sweep of this folder."""
    return next((one.stem for one in scene.folder.glob(".runner/sweeps/*.json")), "abc123")


def call(warm: WarmRunner, scene: Scene, env: dict[str, str], *line: str) -> float:
    """The seconds that it takes."""
    words = [find_sweep(scene) if word == "SWEEP" else word for word in line]
    done = warm.call(*words, cwd=scene.folder, env=environ(scene, env))
    said = done.out.decode() + done.err.decode()
    assert done.code is not None, f"runner {words} hangs: {said}"
    check_words(words, said)
    return done.seconds


def check_words(words: Sequence[str], said: str) -> None:
    """Nothing of what a command said harms a terminal, or is a secret."""
    assert "Traceback" not in said, f"runner {words}: {said}"
    assert not RAW.search(said), f"runner {words}: {said!r}"
    assert "SECRET-" not in said, f"runner {words}: {said}"
    assert KEY not in said


def check(scene: Scene, evil: Listener, before: object) -> None:
    """Nothing of theirs ran, nothing was sent to them, nothing of mine changed or was copied."""
    assert not scene.mark.exists()
    assert evil.knocks == []
    assert describe(scene.outside) == before
    kept = [one for one in scene.folder.rglob("*") if one.is_file() and not one.is_symlink()]
    assert not [one for one in kept if b"SECRET-" in one.read_bytes()]


def test_every_command_is_typed_below() -> None:
    assert find_untyped(LOOKS, ACTS, [SERVE]) == set()


@pytest.mark.slow
@pytest.mark.parametrize("kind", REPOSITORIES)
def test_serving_does_no_harm_in(kind: str, scene: Scene, evil: Listener) -> None:
    """The server of this folder, on the host and not in a container."""
    make_repository(scene, kind)
    before = describe(scene.outside)

    with watched(scene.outside) as watch:
        code, out, err = serve_briefly(scene.folder, environ(scene, {}))
        touched = watch.touched()

    check_words(SERVE, out + err)
    assert (code == 0) == out.startswith("http://127.0.0.1:"), out + err
    check(scene, evil, before)
    assert {one for one in touched if one.name in ("id_rsa", "secret.txt")} == set()


@pytest.mark.engine
@pytest.mark.parametrize("kind", REPOSITORIES)
def test_no_command_does_harm_in(
    kind: str,
    warm: WarmRunner,
    scene: Scene,
    evil: Listener,
    engine_env: TestEngine,
    plain_image: PlainImage,
    server_image: str,
    fleet: str,
) -> None:
    """What is refused is refused in a line, what works works; a look writes nothing."""
    assert server_image
    make_repository(scene, kind)
    before, tree = describe(scene.outside), {*scene.folder.rglob("*")}
    env = {**engine_env.env, "WANDB_MODE": "offline"}
    acting = {"RUNNER_FLEET": fleet, "RUNNER_SERVER": "local", "RUNNER_IMAGE_NAME": plain_image.id}

    with watched(scene.outside) as watch:
        seconds = [call(warm, scene, env, *words) for words in LOOKS]
        after = {*scene.folder.rglob("*")}
        seconds += [call(warm, scene, {**env, **acting}, *words) for words in ACTS]
        touched = watch.touched()

    check(scene, evil, before)
    assert after == tree
    assert {one for one in touched if one.name in ("id_rsa", "secret.txt")} == set()
    engine_env.remove_fleet("evil")
    print(f"{kind}: slowest command {max(seconds):.1f} s, all {sum(seconds):.1f} s")
