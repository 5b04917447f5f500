"""The door to Docker, on a real engine."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.client import Engine
from runner.engine.errors import EngineError, GpuAccessError, ImageMissing, NameTaken, PortTaken
from runner.engine.types import ContainerSpec, Mount
from runner.errors import ExitCode
from tests.rig.engine import TINY, TestEngine

FLEET = f"engine-{time.time_ns():x}"
LABELS = {"dev.runner.fleet": FLEET}


def spec(name: str, script: str) -> ContainerSpec:
    return ContainerSpec(
        f"runner-{FLEET}-{name}", TINY, ("sh", "-c", script), labels=LABELS, network="none"
    )


@pytest.fixture(scope="module")
def engine(engine_env: TestEngine) -> Iterator[Engine]:
    with Engine.connect(environ=engine_env.env) as found:
        yield found
        for left in found.containers(LABELS):
            found.remove(left.id, kill=True)


def wait_for(engine: Engine, identity: str, text: str) -> None:
    for line in engine.logs.of(identity, follow=True):
        if line.text == text:
            return
    raise AssertionError(f"the log ended without {text!r}")


@pytest.mark.engine
def test_stop_lets_the_agent_finish_and_clears_its_policy(engine: Engine) -> None:
    script = "trap 'exit 42' TERM; echo ready; sleep 60 & wait"
    started = engine.start(replace(spec("stop", script), restart="on-failure:3"))
    wait_for(engine, started.id, "ready")

    code = engine.stop(started.id, grace_s=10)

    assert code == 42
    ended = engine.find(started.name)
    assert ended is not None
    assert (ended.state, ended.exit_code, ended.alive) == ("exited", 42, False)
    engine.remove(started.id)
    engine.remove(started.id)
    assert engine.stop(started.id, grace_s=1) is None


@pytest.mark.engine
def test_a_second_container_of_a_name_is_a_lost_race(engine: Engine) -> None:
    wanted = spec("twice", "sleep 60")
    outcomes: list[str] = []

    def start() -> None:
        try:
            outcomes.append(engine.start(wanted).state)
        except NameTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["running", "taken", "taken", "taken"]
    assert len(engine.containers({**LABELS, "dev.runner.fleet": None})) >= 1
    found = engine.find(wanted.name)
    assert found is not None
    engine.remove(found.id, kill=True)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"image": "runner-test/absent"}, ImageMissing),
        ({"gpus": ("GPU-none",), "access": "cdi"}, GpuAccessError),
        ({"gpus": ("GPU-none",), "access": "runtime"}, GpuAccessError),
        ({"gpus": ("GPU-none",), "access": "gpus"}, GpuAccessError),
        ({"network": "runner-absent"}, EngineError),
        ({"mounts": (Mount("/absent/folder", "/x"),)}, EngineError),
        ({"working_dir": "/dev/null"}, EngineError),
    ],
)
def test_a_start_that_fails_leaves_nothing(
    engine: Engine, changed: dict[str, object], kind: type[EngineError]
) -> None:
    wanted = replace(spec("fails", "true"), **changed)  # type: ignore[arg-type]

    with pytest.raises(EngineError) as caught:
        engine.start(wanted)

    assert type(caught.value) is kind
    assert engine.find(wanted.name) is None


@pytest.mark.engine
def test_a_port_in_use_is_told_from_other_failures(engine: Engine) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        wanted = replace(
            spec("port", "true"),
            network=None,
            ports={"80/tcp": ("127.0.0.1", door.getsockname()[1])},
        )

        with pytest.raises(PortTaken):
            engine.start(wanted)

    assert engine.find(wanted.name) is None


@pytest.mark.engine
def test_logs_go_on_across_restarts(engine: Engine) -> None:
    script = "echo out; echo err >&2; sleep 0.2; exit 3"
    started = engine.start(replace(spec("restarts", script), restart="on-failure:2"))

    lines = [
        (name, line.text) for name, line in engine.logs.together({"a": started.id}, follow=True)
    ]

    assert sorted(lines) == [("a", "err")] * 3 + [("a", "out")] * 3
    assert [line.text for line in engine.logs.of(started.id, tail=2)] in (
        ["out", "err"],
        ["err", "out"],
    )
    ended = engine.find(started.id)
    assert ended is not None
    assert (ended.state, ended.exit_code) == ("exited", 3)


@pytest.mark.engine
def test_the_container_runs_as_asked_without_rights(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("in\n")
    tmp_path.chmod(0o777)
    script = (
        "id -u; cat /m/in; grep CapEff /proc/self/status; touch /x 2>&1 || echo read-only; echo $A"
    )
    wanted = replace(
        spec("rights", script),
        user="4242:4242",
        read_only=True,
        mounts=(Mount(str(tmp_path), "/m", read_only=True),),
        environment={"A": "b c"},
    )

    started = engine.start(wanted)
    code = engine.wait(started.id)
    said = [line.text for line in engine.logs.of(started.id)]

    assert code == 0
    assert said[:2] == ["4242", "in"]
    assert "CapEff:\t0000000000000000" in said
    assert "read-only" in said
    assert said[-1] == "b c"


@pytest.mark.engine
def test_what_a_container_changed_is_found_and_copied(engine: Engine, tmp_path: Path) -> None:
    script = "mkdir -p /kept/in; cd /kept; echo text > in/file; touch other; ln -s /etc/passwd out"
    script += r"; echo odd > in/$(printf 'caf\351\342\202')"
    started = engine.start(spec("changes", script))
    engine.wait(started.id)

    changed = engine.files.changed(started.id)
    wanted = set(changed) - {"/kept/other"}
    left = engine.files.copy_out(started.id, "/kept", tmp_path / "copy", only=wanted)

    assert {"/kept/in/file", "/kept/other", "/kept/out"} <= set(changed)
    assert left == ["/kept/out"]
    assert [one.name for one in (tmp_path / "copy").iterdir()] == ["in"]
    assert (tmp_path / "copy/in/file").read_text() == "text\n"
    odd = os.fsdecode(b"caf\xe9\xe2\x82")
    assert (tmp_path / "copy/in" / odd).read_text() == "odd\n"


@pytest.mark.engine
def test_a_probe_answers_and_is_gone(engine: Engine) -> None:
    code, said = engine.probe(TINY, ("-c", "echo here; exit 7"), entrypoint=("sh",))

    assert (code, said) == (7, "here")
    image = engine.images.find(TINY)
    assert image is not None
    assert image.tags == (f"{TINY}:latest",)
    assert engine.images.find("runner-test/absent") is None


@pytest.mark.engine
def test_a_network_is_made_once_and_kept_while_used(engine: Engine) -> None:
    name = f"runner-{FLEET}"
    first = engine.networks.ensure(name, LABELS)
    user = engine.start(replace(spec("net", "sleep 60"), network=name, aliases=("somebody",)))

    assert engine.networks.ensure(name, LABELS) == first
    assert engine.networks.find_gateway(name)
    assert engine.networks.remove(name) is False
    engine.remove(user.id, kill=True)
    assert engine.networks.remove(name) is True
    assert engine.networks.remove(name) is False


@pytest.mark.engine
def test_a_name_can_be_given_away(engine: Engine) -> None:
    old = engine.start(spec("name", "true"))
    engine.wait(old.id)

    engine.rename(old.id, f"{old.name}-{old.id[:12]}")
    new = engine.start(spec("name", "true"))

    assert new.name == old.name
    with pytest.raises(NameTaken):
        engine.rename(old.id, new.name)


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("unix:///absent/docker.sock", "no Docker engine answers"),
        ("tcp://127.0.0.1:1", "no Docker engine answers"),
        ("ssh://somewhere", "cannot mount"),
        ("nonsense", "can be reached at nonsense"),
    ],
)
def test_an_engine_out_of_reach_is_one_line_and_code_6(host: str, part: str) -> None:
    with pytest.raises(EngineError) as caught:
        Engine.connect(environ={"DOCKER_HOST": host})

    assert part in caught.value.message
    assert caught.value.hint
    assert caught.value.code == ExitCode.UNFIT


def test_a_socket_that_is_dead_is_no_engine(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))

    with pytest.raises(EngineError, match="no Docker engine answers"):
        Engine.connect(f"unix://{path}", environ={})
