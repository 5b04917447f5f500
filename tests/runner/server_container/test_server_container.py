"""The folder's own sweep server: one container, one port, one key, whoever asks."""

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.server.check import check
from runner.server_container.container import LocalServer, find_server, remove_server
from runner.server_container.files import ensure_key
from runner.server_container.health import read_health
from runner.server_container.start import start_server
from runner.settings.model import ServeSettings
from runner.state.folder import State
from tests.rig.engine import TINY, TestEngine
from tests.runner.server.player import GaveUpError, Player
from tests.runner.server.servers import history, row

STANDIN = Path(__file__).parent / "standin_server.py"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path, f"local-{time.time_ns():x}")


@pytest.fixture(scope="module")
def engine(engine_env: TestEngine) -> Iterator[Engine]:
    with Engine.connect(environ=engine_env.env) as found:
        yield found


@pytest.fixture(scope="module")
def images(engine_env: TestEngine) -> Iterator[tuple[str, str]]:
    """IDs of two images with the stand-in, the second as of a newer runner."""
    names = [f"runner-test/standin-{os.getpid()}-{number}" for number in range(2)]
    first, second = (make_image(engine_env, name) for name in names)
    yield first, second
    engine_env.docker("rmi", "--force", *names)


def make_image(engine_env: TestEngine, name: str) -> str:
    box = engine_env.docker("create", TINY, "true").strip()
    engine_env.docker("cp", str(STANDIN), f"{box}:/standin.py")
    entry = 'ENTRYPOINT ["python3", "/standin.py"]'
    label = f"LABEL name={name}"
    made = engine_env.docker("commit", "--change", entry, "--change", label, box, name)
    engine_env.docker("rm", box)
    return made.strip()


@pytest.fixture
def cleaned(engine: Engine, state: State) -> Iterator[State]:
    yield state
    remove_server(engine, state)


@pytest.mark.engine
def test_it_starts_once_keeps_its_address_and_goes_away(
    engine: Engine, cleaned: State, images: tuple[str, str]
) -> None:
    said: list[str] = []
    first = start_server(engine, cleaned, images[0], report=said.append)

    again = start_server(engine, cleaned, images[0], report=said.append)
    found = find_server(engine, cleaned)

    assert (first.fresh, again.fresh) == (True, False)
    assert first.url == again.url
    assert found is not None
    assert found.url == first.url
    assert len(said) == 1
    assert "until `runner down`" in said[0]
    health = read_health(first.url, first.key)
    assert health is not None
    assert health.version == "0.0.0"

    assert remove_server(engine, cleaned) is True
    assert find_server(engine, cleaned) is None
    assert remove_server(engine, cleaned) is False
    later = start_server(engine, cleaned, images[0], report=said.append)
    assert (later.url, later.key) == (first.url, first.key)


@pytest.mark.engine
def test_settings_limit_its_memory_and_its_disk(
    engine: Engine, engine_env: TestEngine, cleaned: State, server_image: str
) -> None:
    """The real server: it takes rows and refuses files, and `check` says how to stop it."""
    settings = ServeSettings(min_free=900 << 40, memory=256 << 20)
    server = start_server(engine, cleaned, server_image, report=print, settings=settings)
    with Player(server.url, server.key) as player:
        player.begin("r1")
        player.stream("r1", history(0, row(0, x=1)))
        with pytest.raises(GaveUpError, match=r"503 .*uploads leave"):
            player.upload("r1", {"a.txt": b"a"})
    with pytest.raises(RunnerError, match="another server uses the folder") as held:
        check(cleaned.server, repair=False)
    limits = json.loads(engine_env.docker("inspect", server.container))[0]["HostConfig"]
    lines = [line.text for line in engine.logs.of(server.container)]
    remove_server(engine, cleaned)

    assert (limits["Memory"], limits["MemorySwap"]) == (256 << 20, 256 << 20)
    assert held.value.hint == "`runner down` stops this folder's own server"
    assert check(cleaned.server, repair=False) == []
    assert any('event="a file is not taken"' in line for line in lines)
    assert not any(line.startswith("warning:") for line in lines)  # its port is published here


@pytest.mark.engine
def test_agents_reach_it_by_name_and_the_key_is_in_no_description(
    engine: Engine, engine_env: TestEngine, cleaned: State, images: tuple[str, str]
) -> None:
    server = start_server(engine, cleaned, images[0], report=print)
    token = base64.b64encode(f"api:{server.key}".encode()).decode()
    program = (
        "import urllib.request as u; r = u.Request('http://runner-server:8080/healthz', "
        f"headers={{'Authorization': 'Basic {token}'}}); print(u.urlopen(r).status)"
    )

    seen = engine_env.docker(
        *("run", "--rm", "--network", server.network, TINY, "python3", "-c", program)
    )
    described = engine_env.docker("inspect", server.container)

    assert seen.strip() == "200"
    assert server.key not in described
    assert json.loads(described)[0]["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert json.loads(described)[0]["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
    assert engine_env.docker("port", server.container, "8080").startswith("127.0.0.1:")


@pytest.mark.engine
def test_two_commands_at_once_get_the_same_one(
    engine: Engine, engine_env: TestEngine, cleaned: State, images: tuple[str, str]
) -> None:
    found: list[LocalServer] = []

    def ask() -> None:
        with Engine.connect(environ=engine_env.env) as own:
            found.append(start_server(own, cleaned, images[0], report=print))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({(one.url, one.key) for one in found}) == 1
    assert sorted(one.fresh for one in found) == [False, False, True]
    assert len(engine.containers({"dev.runner.fleet": cleaned.fleet})) == 1


@pytest.mark.engine
def test_a_new_image_replaces_it_once_no_run_is_live(
    engine: Engine, cleaned: State, images: tuple[str, str]
) -> None:
    said: list[str] = []
    first = start_server(engine, cleaned, images[0], report=print)
    (cleaned.server / "live").write_text("2")

    kept = start_server(engine, cleaned, images[1], report=said.append)
    (cleaned.server / "live").write_text("0")
    replaced = start_server(engine, cleaned, images[1], report=said.append)

    assert (kept.fresh, replaced.fresh) == (False, True)
    assert replaced.url == first.url
    assert "2 live runs: kept" in said[0]
    assert "replaced" in said[1]


@pytest.mark.engine
def test_one_that_does_not_come_up_says_its_last_lines_and_is_gone(
    engine: Engine, cleaned: State, images: tuple[str, str]
) -> None:
    cleaned.server.mkdir()
    (cleaned.server / "broken").touch()

    with pytest.raises(RunnerError, match="the store is damaged"):
        start_server(engine, cleaned, images[0], report=print)

    assert engine.find(f"runner-{cleaned.fleet}-server") is None


@pytest.mark.engine
def test_one_that_was_stopped_is_started_anew_elsewhere_if_its_port_is_taken(
    engine: Engine, cleaned: State, images: tuple[str, str]
) -> None:
    first = start_server(engine, cleaned, images[0], report=print)
    engine.stop(f"runner-{cleaned.fleet}-server", grace_s=5)
    said: list[str] = []

    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", int(first.url.rpartition(":")[2])))
        door.listen()
        other = start_server(engine, cleaned, images[0], report=said.append)

    assert other.fresh
    assert other.url != first.url
    assert "something else uses port" in said[0]


def lose_key(file: Path, how: str) -> None:
    """As a full disk, a restored backup or a slip leaves it."""
    key = file.read_text()
    file.unlink()
    contents = {
        "gone": None,
        "empty": b"",
        "cut": key[:17].encode(),
        "zeros": b"\0" * 40,
        "not text": b"\xff" * 40,
        "blank": b" " * 40,
    }
    if how == "a link":
        file.symlink_to(file.with_name("nothing"))
    elif (content := contents[how]) is not None:
        file.write_bytes(content)


@pytest.mark.engine
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "zeros", "not text", "blank", "a link"])
def test_a_damaged_key_costs_no_server_that_is_at_work(
    engine: Engine, engine_env: TestEngine, cleaned: State, images: tuple[str, str], how: str
) -> None:
    """It is restored from an agent's copy; keys of other servers among these are passed over."""
    old = start_server(engine, cleaned, images[0], report=print)
    copies = cleaned.secrets / "agents"
    copies.mkdir()
    marks = {"dev.runner.fleet": cleaned.fleet, "dev.runner.role": "agent"}
    boxes = []
    for number, (key, server) in enumerate(
        [("w" * 40, "https://api.wandb.ai"), ("x" * 40, "local"), (old.key, "local")]
    ):
        name = f"{cleaned.fleet}-cpu-{number}"
        (copies / name).write_text(key)
        told = [
            f"{mark}={value}" for mark, value in (marks | {"dev.runner.server": server}).items()
        ]
        words = [part for one in told for part in ("--label", one)]
        boxes.append(engine_env.docker("create", "--name", f"runner-{name}", *words, TINY).strip())
    lose_key(old.key_file, how)
    said: list[str] = []

    try:
        new = start_server(engine, cleaned, images[0], report=said.append)
    finally:
        engine_env.docker("rm", *boxes)

    assert (new.fresh, new.url, new.key) == (False, old.url, old.key)
    assert [one for one in said if "restored from the copy" in one]
    assert old.key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.engine
@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_key_that_nobody_has_is_said_and_down_makes_way(
    engine: Engine, cleaned: State, images: tuple[str, str], how: str
) -> None:
    old = start_server(engine, cleaned, images[0], report=print)
    lose_key(old.key_file, how)

    with pytest.raises(RunnerError, match="holds no key") as caught:
        start_server(engine, cleaned, images[0], report=print)
    still = find_server(engine, cleaned)
    remove_server(engine, cleaned)
    new = start_server(engine, cleaned, images[0], report=print)

    assert "runner down" in str(caught.value.hint)
    assert still
    assert still.url == old.url
    assert len(new.key) == 40
    assert (new.url, new.key == old.key) == (old.url, False)


@pytest.mark.engine
def test_a_key_that_was_changed_by_hand_gets_a_new_server(
    engine: Engine, cleaned: State, images: tuple[str, str]
) -> None:
    old = start_server(engine, cleaned, images[0], report=print)
    old.key_file.write_text("a" * 40)
    said: list[str] = []

    new = start_server(engine, cleaned, images[0], report=said.append)

    assert (new.fresh, new.url, new.key) == (True, old.url, "a" * 40)
    assert said[0] == "the sweep server is replaced: the folder's key has changed"


def test_the_key_is_made_once_and_only_the_owner_reads_it(state: State) -> None:
    first = ensure_key(state).read_text()

    assert ensure_key(state).read_text() == first
    assert len(first) >= 40
    assert oct(ensure_key(state).stat().st_mode)[-3:] == "600"
    assert oct(state.secrets.stat().st_mode)[-3:] == "700"
    assert [file.name for file in state.secrets.iterdir()] == ["server"]


def test_a_key_that_cannot_be_made_is_one_line(state: State) -> None:
    state.secrets.write_text("in the way")

    with pytest.raises(RunnerError, match="cannot use the server's key"):
        ensure_key(state)


class Answer(BaseHTTPRequestHandler):
    """Whatever the path names: a status, or a page that is not ours."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()
        self.wfile.write(b'{"name": "else"}')

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.mark.slow
def test_what_answers_in_its_place_is_told_apart() -> None:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(RunnerError, match="something else"):
                read_health(f"{url}/200", "key")
            with pytest.raises(RunnerError) as refused:
                read_health(f"{url}/401", "key")
            assert read_health(f"{url}/503", "key") is None
        finally:
            server.shutdown()
            thread.join()

    assert refused.value.code == ExitCode.AUTH
    assert read_health(url, "key") is None
