"""The command line as a process: start-up, wrong usage, wrong folders."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.command import make_environ, run_runner, start_runner
from tests.rig.warm import WarmRunner


def test_help_loads_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from runner.cli.app import _run\n"
        "_run(['--help'])\n"
        "heavy = {'wandb', 'torch', 'docker', 'yaml', 'pynvml', 'requests', 'optuna'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=make_environ(None),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr.strip() == "[]"
    assert "Begin:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("upp",), "no such command `upp`"),
        (("sweep", "show"), "missing argument `SWEEP`"),
        (("--versoin",), "no such option: --versoin"),
        (("server",), "missing command"),
        (("logs", "-n", "-1"), "invalid value for `-n`"),
        (("up", "--gpus", "cpu:x", "--sweep", "a"), "`--gpus cpu:x` is not a GPU selection"),
        (("up", "--gpus", " "), "which GPUs? `--gpus` is missing"),
        (("up", "--gpus", "0", "1", "--sweep", "a"), "got unexpected words: `1`"),
        (("up", "--gpus", "cpu:1"), "which sweep? `--sweep` is missing"),
        (("up", "--gpus", "cpu:1", "--sweep", "a", "--env", "X"), "--env: `run.env` must be"),
        (("sweep", "create", "--dry-run", "."), "cannot read the sweep file `.`: Is a directory"),
    ],
)
def test_wrong_usage_is_one_line_and_a_hint(
    warm: WarmRunner, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = warm.run(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"error: {message}")
    assert lines[1].startswith("hint: ")
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_bytes_is_told_as_such(warm: WarmRunner, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_bytes(b"\xff\x00")

    as_sweep = warm.run("sweep", "create", "--dry-run", cwd=tmp_path)
    as_env = warm.run(
        *("up", "--gpus", "cpu:1", "--sweep", "a", "--env-file", "sweep.yaml"), cwd=tmp_path
    )

    assert (as_sweep.returncode, as_env.returncode) == (2, 2)
    assert "is not UTF-8 text: line 1 has the byte 0xff\nhint: " in as_sweep.stderr
    assert as_env.stderr.startswith(
        "error: `sweep.yaml` is not UTF-8 text: line 1 has the byte 0xff\nhint: "
    )
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_a_terminal_without_unicode_is_served(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text('[run]\nprogram = "größe.py"\n', "utf-8")

    env = {**os.environ, "PYTHONIOENCODING": "ascii"}

    shown = run_runner("config", cwd=tmp_path, env=env)
    as_json = run_runner("config", "--json", cwd=tmp_path, env=env)

    assert (shown.returncode, as_json.returncode) == (0, 0), shown.stderr
    assert "gr\\xf6\\xdfe.py" in shown.stdout
    values = {one["key"]: one["value"] for one in json.loads(as_json.stdout)["settings"]}
    assert values["run.program"] == "größe.py"


@pytest.mark.parametrize(
    "words",
    [
        ("build", "--cpu"),
        ("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml"),
        ("compose", "--gpus", "cpu:1"),
        ("compose", "--gpus", "cpu:1", "--dry-run"),
        ("sweep", "create", "sweep.yaml"),
    ],
    ids=" ".join,
)
def test_an_engine_out_of_reach_leaves_no_state_folder(
    warm: WarmRunner, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "sweep.yaml").write_text("method: grid\nparameters: {x: {values: [1]}}\n")

    done = warm.run(*words, cwd=tmp_path, env={**os.environ, "DOCKER_HOST": "unix:///nowhere.sock"})

    assert done.returncode == 6
    assert [one.name for one in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_machine_without_git_and_a_user_without_home_are_served(tmp_path: Path) -> None:
    for name in ("sweep.yaml", "runner.toml", ".git"):
        (tmp_path / name).touch()
    script = (
        "import os, pwd, runpy, sys\n"
        "os.environ.pop('HOME')\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"  # as for a container's uid without an account
        "sys.argv = ['runner', 'config']\n"
        "runpy.run_module('runner', run_name='__main__')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**make_environ(None), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)


@pytest.mark.slow
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runner", "config"],
            cwd=tmp_path,
            env=make_environ(None),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "error: cannot write the output: No space left on device\nhint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_under_json_is_an_object(warm: WarmRunner, tmp_path: Path) -> None:
    done = warm.run("sweep", "show", "abc", "--json", cwd=tmp_path)

    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == 3


def test_reading_commands_make_no_state_folder(warm: WarmRunner, tmp_path: Path) -> None:
    done = warm.run("sweep", "list", cwd=tmp_path)

    assert done.returncode == 3
    assert "no fleet was started" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bad_sweep_file_is_told_whole_before_anything_starts(
    warm: WarmRunner, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("method: gird\nparameters:\n  lr: {min: 1, max: 0}\n")

    done = warm.run(
        "sweep",
        "create",
        "sweep.yaml",
        cwd=tmp_path,
        env={**os.environ, "DOCKER_HOST": "unix:///nonexistent.sock"},
    )

    assert done.returncode == 2
    assert "sweep.yaml:1:" in done.stderr
    assert "sweep.yaml:3:" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_behind_the_dashes_is_the_commands_own(warm: WarmRunner, tmp_path: Path) -> None:
    done = warm.run("up", "--sweep", "x", "--", "python", "train.py", "--json", cwd=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: which GPUs?")


def _interrupt(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Press Ctrl-C as a person does, again if need be: Python drops one that meets a finalizer."""
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=3)
    process.kill()
    return process.communicate()


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.slow
def test_ctrl_c_is_one_line_and_130(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """While the engine says nothing to the first question, that for what was left behind."""
    (tmp_path / ".runner").mkdir()
    (tmp_path / ".runner" / "fleet").write_text('{"format": 1, "name": "interrupted"}')
    env = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/silent.sock"}
    with socket.socket(socket.AF_UNIX) as engine:  # takes a question and never answers
        engine.bind(str(tmp_path / "silent.sock"))
        engine.listen()
        engine.settimeout(30)
        process = start_runner("ps", *flags, cwd=tmp_path, env=env)
        with engine.accept()[0] as asked:
            assert asked.recv(4) == b"GET "
            out, said = _interrupt(process)

    assert process.returncode == 130
    if flags:
        assert json.loads(out)["error"] == {"code": 130, "message": "interrupted", "hint": None}
    else:
        assert (out, said) == ("", "error: interrupted\n")
