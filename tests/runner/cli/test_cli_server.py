"""`runner serve`, `server status` and `doctor` as commands."""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.cli import main
from runner.server_container.health import read_health
from runner.state.find import open_state
from tests.rig.certificate import make_certificate
from tests.rig.command import start_runner

Run = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder and home, without settings of the machine."""
    for name in os.environ:
        if name.startswith(("WANDB_", "RUNNER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("DOCKER_HOST", "unix:///absent")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process; gives exit code, stdout and stderr."""
    assert folder

    def call(*words: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["runner", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    return call


@pytest.mark.slow
def test_serve_answers_over_https(folder: Path) -> None:
    made = make_certificate(folder / "tls", ("127.0.0.1",))
    words = ["--tls-cert", str(made.chain), "--tls-key", str(made.key)]
    with start_runner("serve", "--port", "0", "--data", "served", *words, cwd=folder) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        key = (folder / "served/key").read_text().strip()
        health = read_health(url, key, ca_bundle=made.authority)
        untrusted = read_health(url, key)
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=10)

    assert url.startswith("https://127.0.0.1:")
    assert health is not None
    assert untrusted is None


def test_serve_refuses_what_is_no_certificate(run: Run, folder: Path) -> None:
    (folder / "a.pem").write_text("nothing")

    half = run("serve", "--data", "served", "--tls-cert", "a.pem")
    wrong = run("serve", "--data", "served", "--tls-cert", "a.pem", "--tls-key", "a.pem")

    assert (half[0], wrong[0]) == (2, 1)
    assert "belong together" in half[2]
    assert "are no certificate with its key" in wrong[2]
    assert not (folder / "served").exists()


@pytest.mark.slow
def test_serve_says_its_url_first_answers_with_its_key_and_ends_at_sigterm(folder: Path) -> None:
    with start_runner("serve", "--port", "0", "--data", "served", cwd=folder) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        health = read_health(url, (folder / "served/key").read_text().strip())
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=10)

    assert url.startswith("http://127.0.0.1:")
    assert health is not None
    assert code in (0, -signal.SIGTERM)
    assert [one.name for one in folder.iterdir()] == ["served"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "published", "warns"),
    [
        ("0.0.0.0", "", True),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "http://127.0.0.1:8080", False),
    ],
)
def test_serve_warns_where_others_can_listen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, host: str, published: str, warns: bool
) -> None:
    monkeypatch.setenv("RUNNER_PUBLIC_URL", published)
    words = ("serve", "--host", host, "--port", "0", "--data", "served")
    with start_runner(*words, cwd=folder) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=20)

    said = [line for line in errors.splitlines() if line.startswith("warning:")]
    assert len(said) == warns
    assert all("`--tls-cert` and `--tls-key`" in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after_s", [0, 0.003, 0.01, 0.03, 0.1, 0.3])
def test_a_signal_ends_a_server_at_any_moment_from_its_url_on(
    folder: Path, number: signal.Signals, after_s: float
) -> None:
    """Before, one that came while the server got ready was lost, and it stayed."""
    with start_runner("serve", "--port", "0", "--data", "served", cwd=folder) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("http://")
        time.sleep(after_s)
        server.send_signal(number)
        try:
            _, errors = server.communicate(timeout=20)
        finally:
            server.kill()

    assert server.returncode == 0, errors
    assert "event=stopped" in errors


@pytest.fixture
def network_folder(folder: Path) -> Iterator[Path]:
    """A folder on a network file system, whose other side is gone."""
    if os.getuid() != 0:
        pytest.skip("root: only root may mount a file system")
    mounted, system = folder / "net", ctypes.CDLL(None)
    mounted.mkdir()
    try:
        handle = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"mounts: no file system of a process can be mounted here: {error}")
    options = f"fd={handle},rootmode=40000,user_id=0,group_id=0"
    failed = system.mount(b"net", bytes(mounted), b"fuse.sshfs", 0, options.encode())
    os.close(handle)
    if failed:
        pytest.skip("mounts: no file system of a process can be mounted here")
    yield mounted
    system.umount2(bytes(mounted), 2)  # MNT_DETACH


def test_serve_refuses_a_network_file_system(run: Run, network_folder: Path) -> None:
    code, _, said = run("serve", "--data", str(network_folder / "data"))

    assert code == 6
    assert f"`{network_folder / 'data'}` is on fuse.sshfs, a network file system" in said
    assert said.endswith("hint: choose a folder on a local disk with --data\n")


def test_serve_without_its_extra_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "runner.server.app", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    code, _, said = run("serve", "--data", "x")

    assert code == 6
    assert said.splitlines() == [
        "error: the sweep server needs the Python package `uvicorn`, which is not installed",
        "hint: `pip install 'sweep-runner[server]'`",
    ]


def test_status_of_a_folder_without_a_fleet_is_not_found(run: Run) -> None:
    code, answer, _ = run("server", "status", "--json")

    assert code == 3
    assert json.loads(answer)["error"]["code"] == 3


def test_status_where_the_server_is_wandb_needs_no_engine(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_state(folder, folder, environ={})
    monkeypatch.setenv("RUNNER_SERVER", "https://wandb.example")

    code, text, _ = run("server", "status", "--json")

    answer = json.loads(text)
    assert code == 0
    assert (answer["server"], answer["key"]) == ("https://wandb.example", "none found")


def test_status_without_an_engine_is_one_line(run: Run, folder: Path) -> None:
    open_state(folder, folder, environ={})

    code, _, said = run("server", "status")

    assert code == 6
    assert said.startswith("error: no Docker engine answers at unix:///absent\nhint: ")


def test_doctor_without_an_engine_is_unfit_and_makes_nothing(run: Run, folder: Path) -> None:
    code, told, _ = run("doctor")

    assert code == 6
    assert "fail  engine" in told
    assert "fix: start that engine" in told
    assert list(folder.iterdir()) == []


def test_doctor_names_a_missing_key_and_a_server_out_of_reach(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_SERVER", "http://127.0.0.1:1")

    _, text, _ = run("doctor", "--json")

    found = {one["check"]: one for one in json.loads(text)["findings"]}
    assert found["W&B key"]["status"] == "fail"
    assert found["W&B key"]["fix"] == "wandb login --host=http://127.0.0.1:1"
    assert found["W&B"]["status"] == "fail"
