"""The engine's door, its pure half: request bodies, answers, errors, targets, log lines."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker.errors import APIError, DockerException
from requests import Response
from requests.exceptions import ConnectionError as TransportError
from urllib3.exceptions import ProtocolError

from runner.engine.connect import read_proxies
from runner.engine.errors import (
    EngineError,
    GpuAccessError,
    NameTaken,
    PortTaken,
)
from runner.engine.logs import follow_lines, interleave_lines, merge_lines, split_lines
from runner.engine.payload import create_body, proxy_environment
from runner.engine.read import read_container, read_info, stamp_seconds
from runner.engine.target import find_target, read_access, remember_access, remember_target
from runner.engine.translate import find_os_error, translate
from runner.engine.types import ContainerSpec, LogLine, Mount
from runner.errors import ExitCode
from runner.state.folder import State

SPEC = ContainerSpec(name="runner-x-0", image="sha256:1", command=("python", "-I", "/opt/runner"))


def answer(status: int, text: str) -> APIError:
    response = Response()
    response.status_code = status
    return APIError(f"{status} Server Error", response=response, explanation=text)


@pytest.mark.parametrize(
    ("status", "text", "kind", "part"),
    [
        (
            500,
            'could not select device driver "nvidia" with capabilities: [[gpu]]',
            GpuAccessError,
            "no NVIDIA toolkit",
        ),
        (
            500,
            'could not select device driver "cdi" with capabilities: []',
            GpuAccessError,
            "does not know CDI",
        ),
        (
            500,
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=9",
            GpuAccessError,
            "does not have this GPU",
        ),
        (500, "unexpected count in CDI device request", GpuAccessError, "refused the CDI"),
        (400, "unknown or invalid runtime name: nvidia", GpuAccessError, "no runtime `nvidia`"),
        (400, "Unknown runtime specified nvidia", GpuAccessError, "no runtime `nvidia`"),
        (
            500,
            "invoking the NVIDIA Container Runtime Hook directly is not supported",
            GpuAccessError,
            "CDI mode",
        ),
        (
            500,
            "runc create failed: error setting rlimit type 8: operation not permitted: unknown",
            EngineError,
            "locked memory",
        ),
        (500, "Bind for 127.0.0.1:80 failed: port is already allocated", PortTaken, "in use"),
        (409, 'Conflict. The container name "/x" is already in use', NameTaken, "was faster"),
        (404, "network nonet not found", EngineError, "nonet not found"),
        (500, "something\n new.", EngineError, "something new"),
    ],
)
def test_each_refusal_of_the_engine_is_one_line_with_its_class(
    status: int, text: str, kind: type[EngineError], part: str
) -> None:
    found = translate(answer(status, text), "start `x`")

    assert type(found) is kind
    assert found.message.startswith("cannot start `x`: ")
    assert part in found.message
    assert "\n" not in found.message


def test_the_systems_error_is_found_below_any_wrapping() -> None:
    wrapped = TransportError(
        ProtocolError("Connection aborted.", PermissionError(13, "Permission denied"))
    )
    outer = DockerException("Error while fetching server API version")
    outer.__cause__ = wrapped

    assert isinstance(find_os_error(outer), PermissionError)
    assert find_os_error(TransportError("no cause")) is None
    assert "no permission" in translate(outer, "x").message
    assert translate(outer, "x").code == ExitCode.UNFIT


def test_a_container_has_no_rights_and_an_init() -> None:
    host = create_body(SPEC, proxies={})["HostConfig"]

    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["LogConfig"]["Config"]["max-size"]


def test_limits_mounts_and_ports_are_the_engines_words() -> None:
    spec = replace(
        SPEC,
        mounts=(Mount("/a:b", "/c", read_only=True),),
        shm_bytes=1,
        memory_bytes=2,
        cpus=1.5,
        pids_limit=3,
        rlimits={"memlock": -1},
        ports={"8080/tcp": ("127.0.0.1", None)},
        restart="on-failure:3",
        network="runner-x",
        aliases=("runner-server",),
        user="4242:4242",
        entrypoint=(),
        working_dir="/workspace",
    )

    body = create_body(spec, proxies={})

    host = body["HostConfig"]
    assert host["Mounts"] == [{"Type": "bind", "Source": "/a:b", "Target": "/c", "ReadOnly": True}]
    assert (host["ShmSize"], host["Memory"], host["MemorySwap"]) == (1, 2, 2)
    assert (host["NanoCpus"], host["PidsLimit"]) == (1_500_000_000, 3)
    assert host["Ulimits"] == [{"Name": "memlock", "Soft": -1, "Hard": -1}]
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert body["NetworkingConfig"]["EndpointsConfig"]["runner-x"]["Aliases"] == ["runner-server"]
    assert (body["User"], body["Entrypoint"], body["WorkingDir"]) == (
        "4242:4242",
        [],
        "/workspace",
    )


@pytest.mark.parametrize(
    ("access", "key", "value"),
    [
        (
            "cdi",
            "DeviceRequests",
            [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-1"]}],
        ),
        (
            "gpus",
            "DeviceRequests",
            [{"Driver": "nvidia", "DeviceIDs": ["GPU-1"], "Capabilities": [["gpu"]]}],
        ),
        ("runtime", "Runtime", "nvidia"),
    ],
)
def test_each_way_asks_for_the_gpu_by_uuid(access: str, key: str, value: object) -> None:
    spec = replace(SPEC, gpus=("GPU-1",), access=access)  # type: ignore[arg-type]

    body = create_body(spec, proxies={})

    assert body["HostConfig"][key] == value
    assert "NVIDIA_VISIBLE_DEVICES=GPU-1" in body["Env"]


def test_a_container_without_gpus_gets_none_even_where_nvidia_is_the_default_runtime() -> None:
    assert "NVIDIA_VISIBLE_DEVICES=void" in create_body(SPEC, proxies={})["Env"]


def test_selinux_and_a_remapping_engine_are_served() -> None:
    spec = replace(SPEC, mounts=(Mount("/a", "/b", read_only=True), Mount("/c", "/d")))

    host = create_body(spec, relabel=True, remapped=True, proxies={})["HostConfig"]

    assert host["Binds"] == ["/a:/b:ro,z", "/c:/d:rw,z"]
    assert host["UsernsMode"] == "host"
    assert "Mounts" not in host


def test_the_callers_proxies_win_and_our_server_is_exempt() -> None:
    configured = {"httpProxy": "http://file", "httpsProxy": "http://file", "noProxy": "a.b"}

    found = proxy_environment(configured, {"https_proxy": "http://mine", "NO_PROXY": "c.d, e"})

    assert found["HTTP_PROXY"] == found["http_proxy"] == "http://file"
    assert found["HTTPS_PROXY"] == "http://mine"
    assert found["no_proxy"] == found["NO_PROXY"] == "c.d,e,runner-server,localhost,127.0.0.1"
    assert proxy_environment({}, {"NO_PROXY": "x"}) == {}


def test_the_specs_own_environment_wins_over_proxies() -> None:
    spec = replace(SPEC, environment={"HTTP_PROXY": ""})

    assert "HTTP_PROXY=" in create_body(spec, proxies={"HTTP_PROXY": "http://x"})["Env"]


def test_proxies_of_dockers_client_configuration_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"proxies": {"default": {"httpProxy": "http://p:1"}, "unix:///s": {}}}'
    (tmp_path / "config.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert read_proxies("unix:///s", {})["http_proxy"] == "http://p:1"


def test_a_container_that_never_ran_has_no_exit_code() -> None:
    never = "0001-01-01T00:00:00Z"
    state = {"Status": "created", "ExitCode": 0, "StartedAt": never, "FinishedAt": never}
    found = read_container(
        {
            "Id": "1" * 64,
            "Name": "/runner-x",
            "Image": "sha256:2",
            "State": state,
            "Config": {"Labels": None},
            "HostConfig": {"PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": "80"}]}},
            "NetworkSettings": {"Ports": {}},
        }
    )

    assert (found.name, found.exit_code) == ("runner-x", None)
    assert found.alive
    assert found.ports == {"8080/tcp": 80}


@pytest.mark.parametrize(
    ("raw", "ways"),
    [
        ({}, ("gpus",)),
        ({"CDISpecDirs": []}, ("gpus",)),
        ({"CDISpecDirs": ["/etc/cdi"]}, ("cdi", "gpus")),
        ({"CDISpecDirs": ["/etc/cdi"], "DiscoveredDevices": []}, ("gpus",)),
        (
            {
                "CDISpecDirs": ["/etc/cdi"],
                "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=GPU-1"}],
                "Runtimes": {"nvidia": {}, "runc": {}},
            },
            ("cdi", "runtime", "gpus"),
        ),
    ],
)
def test_what_the_engine_rules_out_is_not_tried(
    raw: dict[str, object], ways: tuple[str, ...]
) -> None:
    assert read_info(raw, api_version="1.45", host="unix:///s").access_ways("GPU-1") == ways


def test_files_belong_to_the_caller_on_a_rootless_engine_too() -> None:
    rootless = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}

    assert read_info(rootless, api_version="1.45", host="h").user(4242, 4243) == "0:0"
    assert read_info({}, api_version="1.45", host="h").user(4242, 4243) == "4242:4243"


def test_stamps_become_seconds() -> None:
    assert stamp_seconds("1970-01-01T00:00:01.500000999Z") == 1.5
    assert stamp_seconds("1970-01-01T00:00:02Z") == 2.0


def test_a_long_line_that_comes_in_parts_is_one_line() -> None:
    frames = [b"t1 one\n", b"t2 tw", b"t3 o\r\n", b"t4 \xff"]

    assert list(split_lines(iter(frames))) == [
        LogLine("t1", "one"),
        LogLine("t2", "two"),
        LogLine("t4", "\ufffd"),
    ]


def test_following_across_a_restart_gives_each_line_once() -> None:
    first = [b"1970-01-01T00:00:01.000000001Z a\n", b"1970-01-01T00:00:01.000000001Z a\n"]
    second = [*first, b"1970-01-01T00:00:02.000000000Z b\n"]
    reads = iter([first, second, second[-1:]])
    alive = iter([True, True, False])

    found = list(follow_lines(lambda _since: iter(next(reads)), lambda: next(alive)))

    assert [line.text for line in found] == ["a", "a", "b"]


def test_two_pipes_whose_lines_stand_in_another_order_are_given_once() -> None:
    first = [b"2 out\n", b"1 err\n"]
    reads = iter([first, [*first, b"3 more\n"]])
    alive = iter([True, False])
    asked = list[str | None]()

    def read(since: str | None) -> Iterator[bytes]:
        asked.append(since)
        return iter(next(reads))

    found = list(follow_lines(read, lambda: next(alive)))

    assert [line.text for line in found] == ["out", "err", "more"]
    assert asked == [None, "1"]


def test_ended_logs_merge_by_time_and_live_ones_as_they_come() -> None:
    def lines(*stamps: str) -> Iterator[LogLine]:
        return (LogLine(stamp, stamp) for stamp in stamps)

    merged = merge_lines({"a": lines("1", "3"), "b": lines("2")})
    live = interleave_lines({"a": lines("1", "3"), "b": lines("2")})

    assert [(name, line.text) for name, line in merged] == [("a", "1"), ("b", "2"), ("a", "3")]
    assert sorted((name, line.text) for name, line in live) == [
        ("a", "1"),
        ("a", "3"),
        ("b", "2"),
    ]


def test_an_error_in_one_log_reaches_the_reader() -> None:
    def broken() -> Iterator[LogLine]:
        yield LogLine("1", "x")
        raise EngineError("gone")

    with pytest.raises(EngineError, match="gone"):
        list(interleave_lines({"a": broken()}))


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path, "fleet-1a2b")


def test_the_engine_is_found_by_flag_environment_state_and_context(
    state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # no context chosen there
    environ = {"DOCKER_HOST": "unix:///named", "DOCKER_CONFIG": "/d", "PATH": ""}
    steps: list[str] = []
    for host, env in [(None, {}), (None, environ), (None, {}), ("unix:///flag", environ)]:
        target = find_target(host, state, env)
        remember_target(target, state, env)
        steps.append(f"{target.origin} {target.host}")

    assert steps == [
        "context unix:///var/run/docker.sock",
        "DOCKER_HOST unix:///named",
        "state unix:///named",
        "flag unix:///flag",
    ]


def test_a_remembered_engine_brings_its_own_docker_command(state: State, tmp_path: Path) -> None:
    (tmp_path / "docker").touch(mode=0o755)
    named = {"DOCKER_HOST": "unix:///x", "DOCKER_CONFIG": "/c", "PATH": str(tmp_path)}
    remember_target(find_target(None, state, named), state, named)
    remember_access(state, "cdi")

    later = find_target(None, state, {"PATH": "/usr/bin"})

    assert later.cli_env == {
        "DOCKER_HOST": "unix:///x",
        "DOCKER_CONFIG": "/c",
        "PATH": f"{tmp_path}:/usr/bin",
    }
    assert read_access(state) == "cdi"
    assert later.host == "unix:///x"
