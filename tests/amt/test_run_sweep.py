"""`run_sweep.py`: mistakes are one line each, and what fails is not called done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from runner.offline.log.find import find_logs, read_runs
from tests.amt.micro import make_arguments
from tests.rig.cloud import Cloud, start_cloud

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody answers
PROGRAM = """\
import sys, time, wandb
config = dict(one[2:].split("=", 1) for one in sys.argv[1:])
with wandb.init(config=config) as run:
    run.log({"loss": float(config["rate"])})
    time.sleep(float(config.get("sleep", 0)))
sys.exit(int(float(config["rate"]) > 0.5))
"""


def run_sweep(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_sweep.py"), *arguments],
        env=environ or plain(folder),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def plain(folder: Path, **more: str) -> dict[str, str]:
    """No server, no hub, no key, and nothing of the caller's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "WANDB_DIR": str(folder),
        "WANDB_BASE_URL": NOWHERE,
        "HF_ENDPOINT": NOWHERE,
        **more,
    }


def write_sweep(folder: Path, **parameters: object) -> Path:
    """A sweep of a program of the test's own."""
    (folder / "train.py").write_text(PROGRAM)
    sweep = {
        "program": str(folder / "train.py"),
        "method": "grid" if all("values" in str(form) for form in parameters.values()) else "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": parameters,
    }
    file = folder / "sweep.yaml"
    file.write_text(json.dumps(sweep))
    return file


Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """`run_sweep.py` in this process, which has torch already; gives exit code and stderr."""

    def call(*arguments: str, mode: str = "online") -> tuple[int, str]:
        program = import_module("run_sweep")
        environ = plain(tmp_path, WANDB_MODE=mode)
        for name in os.environ:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        return program.main(arguments), capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (None, ["sweep file `sweep.yaml`: No such file or directory"]),
        ("name: [", ["sweep.yaml:1: not YAML"]),
        ("method: random", ["sweep.yaml: `parameters`: missing (name at least one parameter)"]),
        (
            "method: random\nparameters:\n  lr: {min: 3, max: 1}\n  wd: {values: 256}\n",
            [
                "sweep.yaml:3: `parameters.lr`: `min` 3 is not less than `max` 1 (swap them)",
                "sweep.yaml:4: `parameters.wd.values`: must be a list",
            ],
        ),
    ],
)
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_sweep_file_is_checked_as_strictly_as_on_the_server(
    call: Call, tmp_path: Path, text: str | None, messages: list[str], mode: str
) -> None:
    if text is not None:
        (tmp_path / "sweep.yaml").write_text(text)

    code, said = call("--config", "sweep.yaml", mode=mode)

    lines = said.splitlines()
    assert code == 1
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages, strict=True):
        assert line.removeprefix("error: ").strip().startswith(message)


def test_weights_are_looked_for_before_anything_is_created(tmp_path: Path) -> None:
    """The default sweep's trunk is pretrained; there is no file, and no network."""
    began = time.monotonic()

    done = run_sweep(tmp_path, environ=plain(tmp_path, WANDB_MODE="offline"))

    assert done.returncode == 1
    assert time.monotonic() - began < 20  # retries would take 26 s; it is 2 s alone
    assert done.stderr.startswith("error: no weights for `vit_base_patch14_dinov2.lvd142m`")
    assert "`python -m amt.trunk fetch`" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("command", ["--count 10", "--project amt-hyperparam-search --count 100"])
def test_the_guides_commands_with_its_own_file_come_as_far_as_the_weights(
    call: Call, command: str, mode: str
) -> None:
    code, said = call(*command.split(), mode=mode)

    assert code == 1
    assert said.startswith("error: no weights for `vit_base_patch14_dinov2.lvd142m`")
    assert len(said.splitlines()) == 1


@pytest.mark.slow
def test_a_trunk_without_pretrained_weights_needs_none(tmp_path: Path) -> None:
    """Also where only the command says so: `--config amt/tiny.yaml`."""
    done = run_sweep(tmp_path, "--config", str(ROOT / "amt" / "tiny_sweep.yaml"))

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: W&B: {NOWHERE} does not answer; WANDB_MODE=offline")


def test_joining_needs_a_server(tmp_path: Path) -> None:
    done = run_sweep(tmp_path, "--sweep_id", "abc", environ=plain(tmp_path, WANDB_MODE="offline"))

    assert done.returncode == 1
    assert done.stderr == "error: joining a sweep needs its server: unset WANDB_MODE\n"


def test_a_count_below_one_is_wrong_usage(tmp_path: Path) -> None:
    assert run_sweep(tmp_path, "--count", "0").returncode == 2


@pytest.mark.client
def test_a_new_sweep_offline_needs_no_server_and_no_key(tmp_path: Path) -> None:
    """The real client logs on disk, one folder per run, with the values that were drawn."""
    file = write_sweep(tmp_path, rate={"distribution": "uniform", "min": 0.0, "max": 0.4})

    done = run_sweep(
        tmp_path,
        *("--config", str(file), "--count", "2", "--project", "p"),
        environ=plain(tmp_path, WANDB_MODE="offline"),
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("drawn at random") == 1
    found = read_runs(find_logs([tmp_path / "wandb"]), live=())
    assert [one.bad for one in found] == [None, None]  # `runner sync-offline` takes them
    logs = [log for one in found for log in one.logs]
    assert [(log.verdict, log.project, log.sweep, log.rows) for log in logs] == [
        ("complete", "p", "", 1)
    ] * 2
    rates = {float(log.config["rate"]) for log in logs}
    assert len(rates) == 2
    assert all(0 <= rate <= 0.4 for rate in rates)


@pytest.mark.client
def test_a_grid_offline_has_each_cell_once_and_a_failed_run_is_exit_code_1(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, rate={"values": [0.1, 0.9]})

    done = run_sweep(
        tmp_path, *("--config", str(file)), environ=plain(tmp_path, WANDB_MODE="offline")
    )

    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("run ")]
    assert told == ["run 1 of at most 10: rate=0.1", "run 2 of at most 10: rate=0.9"]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return start_cloud(tmp_path / "cloud", lag_s=0.0, limit_every=10**9)


@pytest.mark.client
def test_with_a_server_failed_runs_are_counted_and_unknown_sweeps_named(
    tmp_path: Path, cloud: Cloud
) -> None:
    file = write_sweep(tmp_path, rate={"values": [0.1, 0.9]})
    with cloud:
        environ = cloud.environment(tmp_path)

        new = run_sweep(tmp_path, "--config", str(file), "--count", "2", environ=environ)
        lost = run_sweep(tmp_path, "--sweep_id", "nope", "--project", "other", environ=environ)

    assert new.returncode == 1, new.stderr
    assert "1 of 2 runs failed; their output says why" in new.stderr
    assert lost.returncode == 1
    assert lost.stderr.splitlines()[-1] == (
        f"error: no sweep `nope` in W&B project `other` of `acme` at {cloud.url}: name its "
        "project with --project, or give entity/project/ID"
    )


@pytest.mark.client
def test_runs_keep_as_best_what_their_sweep_ranks_by(tmp_path: Path, cloud: Cloud) -> None:
    """Here the training's own loss; the server's copy of the sweep says so to whoever joins."""
    sweep = {
        "program": "amt/train.py",
        "method": "grid",
        "metric": {"name": "train/grad_norm", "goal": "maximize"},
        "command": [
            *("${env}", "${interpreter}", "${program}"),
            *make_arguments(validations=2),
            "${args}",
        ],
        "parameters": {"learning_rate": {"values": [0.001]}},
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(sweep))
    with cloud:
        done = run_sweep(
            tmp_path, *("--config", str(file), "--count", "1"), environ=cloud.environment(tmp_path)
        )
        [run] = cloud.runs("amt")

    assert done.returncode == 0, done.stderr
    assert "best train/grad_norm" in done.stdout
    config = json.loads(run.config)
    assert config["best_metric"]["value"] == "train/grad_norm"
    assert config["best_goal"]["value"] == "maximize"
    assert json.loads(run.summary)["train/grad_norm"] > 0


@pytest.mark.client
def test_ctrl_c_prints_the_command_that_goes_on(tmp_path: Path, cloud: Cloud) -> None:
    file = write_sweep(tmp_path, rate={"values": [0.1, 0.2, 0.3]}, sleep={"values": [4]})
    with cloud:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_sweep.py"), "--config", str(file), "--count", "3"],
            env=cloud.environment(tmp_path),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        with process:
            for line in process.stderr:
                if "Agent starting run" in line:
                    process.send_signal(signal.SIGINT)
                    break
            told = process.stderr.read()
        [sweep] = {run.sweep for run in cloud.runs("amt")}

        assert process.returncode == 130
        command = f"python run_sweep.py --sweep_id acme/amt/{sweep} --count 3"
        assert f"to go on later: {command}\n" in told

        again = run_sweep(
            tmp_path,
            "--sweep_id",
            f"acme/amt/{sweep}",
            "--count",
            "1",
            environ=cloud.environment(tmp_path),
        )
        assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_ctrl_c_while_the_agent_writes_is_not_lost() -> None:
    """Nobody reads its stderr: W&B's agent is in the middle of a write when the signal comes."""
    program = """
import sys, run_sweep
from wandb import wandb_agent
def write(*_, **__):
    print("begins", flush=True)
    try:
        sys.stderr.write("x" * 1_000_000)
    except KeyboardInterrupt:
        pass
wandb_agent.agent = write
sys.exit(run_sweep._run_agent(run_sweep._Joined("acme", "amt", "s1", {}), 3))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # where writing is buffered
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.2)  # the pipe is full
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        told = process.stderr.read()

    assert process.returncode == 130, told[-1000:]
    assert "to go on later: python run_sweep.py --sweep_id acme/amt/s1 --count 3\n" in told


def test_offline_every_macro_of_a_command_is_replaced_as_w_and_bs_agent_does(
    tmp_path: Path,
) -> None:
    """The values' file too, which lives as long as its run."""
    (tmp_path / "train.py").write_text(
        "import pathlib, sys\n"
        "said = [pathlib.Path(sys.argv[-1]).read_text(), *sys.argv[1:-1]]\n"
        "pathlib.Path(sys.argv[0]).with_name('said').write_text('\\n'.join(said))\n"
    )
    sweep = {
        "program": str(tmp_path / "train.py"),
        "method": "grid",
        "parameters": {"flip": {"values": [True]}, "rate": {"values": [0.5]}},
        "command": [
            *("${env}", "SEEN=1", "${interpreter}", "${program}", "${args_no_boolean_flags}"),
            *("${envvar:WANDB_MODE}", "${args_json_file}"),
        ],
    }
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))

    done = run_sweep(
        tmp_path, "--config", "sweep.yaml", environ=plain(tmp_path, WANDB_MODE="offline")
    )

    assert done.returncode == 0, done.stderr
    values, *words = (tmp_path / "said").read_text().splitlines()
    assert json.loads(values) == {"flip": True, "rate": 0.5}
    assert words == ["--flip", "--rate=0.5", "offline"]
