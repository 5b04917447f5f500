"""Fixtures of all tests. Those of an engine skip, and say why, where there is none."""

import faulthandler
import fcntl
import json
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests.rig.disks import mount_small
from tests.rig.engine import TINY, NoEngineError, TestEngine, find_engine
from tests.rig.kinds import judge_skip, read_required
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import PlainImage, make_folder
from tests.rig.warm import WarmRunner, shared_runner

if TYPE_CHECKING:
    from docker.client import DockerClient


# Files of minutes. A worker begins with them, so that none is left over at the end while the other
# workers wait; `make test` therefore passes --no-loadscope-reorder.
LONG = (
    *("amt/test_amt_mutants.py", "amt/test_amt_effects.py", "amt/test_amt_guide.py"),
    *(
        "runner/compose/test_compose_engine.py",
        "runner/fleet/test_fleet.py",
        "runner/sweeps/test_wandb_sweeps.py",
    ),
    *(
        "runner/compose/test_compose_build.py",
        "runner/product/test_transcripts.py",
        "runner/state/test_upgrade.py",
    ),
    *("runner/guard/test_hostile_repositories.py", "runner/product/test_wheel_outside.py"),
    "runner/product/test_examples.py",
    *("chaos/test_command_kills.py", "chaos/test_amt_kills.py", "amt/test_amt_judge.py"),
)
GRACE_S = 120  # to clean up after a test that took too long
REQUIRED = pytest.StashKey[frozenset[str]]()
STDERR = pytest.StashKey[int]()  # outside of what is captured of a test


def pytest_configure(config: pytest.Config) -> None:
    """Read which skips are failures; let the commands under test take Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    config.stash[REQUIRED] = read_required()
    config.stash[STDERR] = os.dup(2)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailureLines(config))


class FailureLines:
    """Says of each failure at once what failed, for whom sees a part of the output alone."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            out = self._config.get_terminal_writer()
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message.partition("\n")[0] if crash else ""
            out.line(f"\n{report.nodeid}: {report.when} failed ({report.duration:.0f} s) {why}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a process whose test ignores its time limit, with a traceback of each thread.

    pytest-timeout interrupts a test once, so it does not end one that then waits in its cleanup.
    """
    mark = item.get_closest_marker("timeout")
    limit = float(mark.args[0] if mark else item.config.getini("timeout"))
    file = item.config.stash[STDERR]
    faulthandler.dump_traceback_later(limit + GRACE_S, exit=True, file=file)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, in the order of `LONG`."""
    here = Path(__file__).parent
    order = {here / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip of a required kind, or of none of the kinds, is a failure."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        why = judge_skip(report.longrepr[2], item.config.stash[REQUIRED])
        if why is not None:
            report.outcome, report.longrepr = "failed", why
    return report


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 3 MiB, or of the size that the test asks for."""
    with mount_small(tmp_path / "disk", getattr(request, "param", "3m")) as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def user_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands under test keep what they remember of folders where it is removed again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("user-state")))
        yield


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a test leaves in the environment ends with it.

    W&B's client leaves the address of its core there, in fixtures of a module too. A process that
    starts later would use that core, or look for it in vain.
    """
    os.environ.pop("WANDB_SERVICE", None)
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def warm() -> WarmRunner:
    """Runs `runner` in a tenth of the time that a start takes."""
    return shared_runner()


@pytest.fixture(scope="session")
def engine_env() -> TestEngine:
    """A reachable engine; its `env` goes into the environment of commands under test."""
    try:
        return find_engine()
    except NoEngineError as error:
        pytest.skip(f"engine: {error}")


@pytest.fixture(scope="session")
def tiny_image(engine_env: TestEngine) -> str:
    """The name of a small image with Python and busybox."""
    if not engine_env.docker("images", "-q", TINY).strip():
        pytest.skip(f"images: no image {TINY}; make it: docker/engine.sh base --tiny")
    return TINY


@pytest.fixture
def docker_client(engine_env: TestEngine) -> Iterator["DockerClient"]:
    """docker-py, connected to the tests' engine."""
    client = engine_env.client()
    yield client
    client.close()


@contextmanager
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of all workers only this one builds now.

    Builds of the same at the same time may become two images, and the first loses its name.
    """
    with (tmp_path_factory.getbasetemp().parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def plain_image(engine_env: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> PlainImage:
    """A CPU image with wandb and the program above, by `runner build --cpu`."""
    folder = make_folder(tmp_path_factory.mktemp("image") / "plain", "test-image", engine_env.env)
    with alone(tmp_path_factory):
        folder.run("build", "--cpu")
    record = json.loads((folder.root / ".runner" / "cache" / "image.json").read_text())
    shutil.rmtree(folder.root)
    return PlainImage(record)


@pytest.fixture(scope="session")
def server_image(engine_env: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The server's image of this very code."""
    from runner.engine.client import Engine  # here: unmarked tests need no docker
    from runner.image.server import ensure_server_image

    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_env.env.items():
            patch.setenv(name, value)  # for `docker buildx`
        with Engine.connect(environ=os.environ) as engine, alone(tmp_path_factory):
            return ensure_server_image(engine, report=lambda _: None)


@pytest.fixture(scope="session")
def server_tags(engine_env: TestEngine, server_image: str) -> tuple[str, ...]:
    """All its names: other code with the same content gives the same image another one."""
    listed = engine_env.docker("inspect", "--format", '{{join .RepoTags " "}}', server_image)
    return tuple(listed.split())


@pytest.fixture
def fleet(engine_env: TestEngine) -> Iterator[str]:
    """A fleet name of the test's own; whatever carries it is removed afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    yield name
    engine_env.remove_fleet(name)


@pytest.fixture
def fake_nvml(engine_env: TestEngine) -> Iterator[Callable[[Sequence[FakeGpu]], FakeNvml]]:
    """Makes fake GPUs that the host (by `env()`) and the engine (by CDI) know during the test."""
    folder = engine_env.cdi_folder
    if folder is None:
        pytest.skip(
            "cdi: the engine takes no CDI specs of ours: CDI is off, or we may not write there"
        )
    with ExitStack() as stack:

        def make(gpus: Sequence[FakeGpu]) -> FakeNvml:
            nvml = stack.enter_context(FakeNvml(gpus))
            nvml.add_to_engine(folder)
            return nvml

        yield make
