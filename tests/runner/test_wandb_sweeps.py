"""Sweeps of a server that plays W&B's cloud, worked on by real containers."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.cloud import Cloud, start_cloud
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import ROOT, Folder, PlainImage, make_folder

pytestmark = pytest.mark.engine

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "1"))  # 5: an outage of a minute
CELLS = list(range(1, 13 if SIZE > 1 else 5))

PROGRAM = """
import os, pathlib, time, wandb

with wandb.init() as run:
    for step in range(3):
        run.log({"loss": run.config.x / (step + 1)}, step=step)
    pathlib.Path("ready").touch()
    time.sleep(run.config.get("pause", 0))
    pathlib.Path("seen").write_text("\\n".join(sorted(os.environ)))
"""


@pytest.fixture(scope="module")
def cloud(engine_env: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The strict server at the address of the engine's bridge, which containers reach."""
    shown = json.loads(engine_env.docker("network", "inspect", "bridge"))
    gateway = shown[0]["IPAM"]["Config"][0]["Gateway"]
    with start_cloud(tmp_path_factory.mktemp("cloud"), host=gateway, lag_s=0.0) as started:
        yield started


@pytest.fixture
def folder(
    engine_env: TestEngine, plain_image: PlainImage, cloud: Cloud, fleet: str, tmp_path: Path
) -> Iterator[Folder]:
    """A project whose user has W&B's key in `~/.netrc` and nowhere else."""
    home = tmp_path / "home"
    home.mkdir()
    cloud.write_netrc(home)
    trust = {"SSL_CERT_FILE": str(cloud.ca_file)}
    names = {"HOME": str(home), "WANDB_BASE_URL": cloud.url, "WANDB_PROJECT": "vision", **trust}
    made = make_folder(tmp_path / "plain", fleet, engine_env.env | names | {"RUNNER_SERVER": ""})
    (made.root / "code").mkdir()
    (made.root / "code" / "train.py").write_text(PROGRAM)
    (made.root / "runner.toml").write_text('[run]\nmounts = ["./code:/workspace/code:ro"]\n')
    made.use_image(plain_image)
    yield made
    made.run("down")
    assert not list((made.root / ".runner" / "secrets").rglob("agents/*"))


def make_sweep(folder: Folder, cloud: Cloud, parameters: str, more: str = "") -> str:
    """By `wandb sweep`, as W&B's documentation says; its bare ID."""
    file = folder.root / "theirs.yaml"
    text = f"program: code/train.py\nmethod: grid\nmetric: {{name: loss, goal: minimize}}\n{more}"
    file.write_text(f"{text}parameters: {{{parameters}}}\n")
    environ = {**cloud.environment(Path(folder.env["HOME"]), key=False), "WANDB_PROJECT": "vision"}
    command = [sys.executable, "-m", "wandb", "sweep", file.name]
    done = subprocess.run(
        command, cwd=folder.root, env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return str(max(cloud.store.sweeps(), key=lambda sweep: sweep.created).id)


def readme_up(section: str, sweep: str, *, gpus: str = "cpu:2") -> list[str]:
    """The `runner up` that the README shows there, for this sweep."""
    text = (ROOT / "README.md").read_text("utf-8").partition(f"\n## {section}\n")[2]
    found = re.search(r"^\$ runner (up .*)$", text, re.MULTILINE)
    assert found
    words = shlex.split(found[1])
    words[words.index("--sweep") + 1], words[words.index("--gpus") + 1] = sweep, gpus
    return words


def of_sweep(cloud: Cloud, sweep: str) -> list[Any]:
    """The sweep's runs as the cloud has them."""
    return [run for run in cloud.runs("vision") if run.sweep == sweep]


def wait_for(what: Callable[[], object], timeout_s: float = 60) -> Any:
    """The first true answer."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s} s in vain")


def test_a_grid_of_theirs_is_finished_live(folder: Folder, cloud: Cloud) -> None:
    """Each cell once; a key only in `~/.netrc`; what reads a sweep reads this one."""
    sweep = make_sweep(folder, cloud, f"x: {{values: {CELLS}}}")

    _, err = folder.run(*readme_up("Sweeps on W&B", sweep))

    assert (
        f"server: {cloud.url} (WANDB_BASE_URL), key from ~/.netrc, entity the key's own, "
        "W&B project `vision` (WANDB_PROJECT)" in err
    )
    runs = of_sweep(cloud, sweep)
    assert sorted(json.loads(run.config)["x"]["value"] for run in runs) == CELLS
    assert {(run.state, len(cloud.rows(run))) for run in runs} == {("finished", 3)}
    seen = (folder.root / ".runner" / "work" / f"{folder.fleet}-cpu-0" / "seen").read_text()
    assert "TRANSMIT_INTERVAL" not in seen
    assert "FLUSH_INTERVAL" not in seen
    assert cloud.key not in json.dumps(folder.json("ps"))

    shown = folder.json("sweep", "show", sweep)
    assert shown["server"] == cloud.url
    assert (shown["engine"], shown["best"]["config"]) == (None, {"x": 1})
    assert shown["best"]["best"] == pytest.approx(1 / 3)
    unknown = ("attempts", "failure", "stopped_early", "agent")
    assert {run[field] for run in shown["runs"] for field in unknown} == {None}
    assert folder.run("sweep", "best", sweep)[0] == "x: 1\n"
    assert [one["path"] for one in folder.json("sweep", "list")["sweeps"]] == [shown["path"]]
    assert runs[0].id in folder.run("logs")[0]


def test_the_key_stands_nowhere_to_be_read(
    folder: Folder, cloud: Cloud, engine_env: TestEngine
) -> None:
    """Not in `inspect`, not in a log; and our own server's key never arrives there."""
    sweep = make_sweep(folder, cloud, "x: {values: [1]}, pause: {value: 3}")
    folder.run("up", "--gpus", "cpu", "--sweep", f"acme/vision/{sweep}", "--follow")

    name = f"runner-{folder.fleet}-cpu-0"
    assert cloud.key not in engine_env.docker("inspect", name)
    assert cloud.key not in engine_env.docker("logs", name)
    key_file = folder.root / ".runner" / "secrets" / "agents" / f"{folder.fleet}-cpu-0"
    assert key_file.stat().st_mode & 0o777 == 0o400
    assert cloud.record.keys <= {cloud.key, "w" * 40}


def test_a_grid_is_finished_on_gpus_with_runs_that_log_offline(
    folder: Folder,
    cloud: Cloud,
    fake_nvml: Callable[..., FakeNvml],
) -> None:
    """The agent asks W&B, the runs have no key: whole logs on disk, each with its sweep."""
    machine = fake_nvml([FakeGpu(), FakeGpu()])
    folder.env |= machine.env()
    sweep = make_sweep(
        folder,
        cloud,
        f"x: {{values: {CELLS}}}",
        "early_terminate: {type: hyperband, min_iter: 3}\n",
    )

    _, err = folder.run(*readme_up("No internet", sweep, gpus="0,1"))

    assert err.count("early stop: blind with `--offline`") == 1
    logs = list((folder.root / ".runner" / "runs" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(logs) == len(CELLS)
    assert {run.id for run in of_sweep(cloud, sweep)} == {
        log.stem.removeprefix("run-") for log in logs
    }
    assert {len(cloud.rows(run)) for run in of_sweep(cloud, sweep)} == {0}
    agents = folder.json("ps")["agents"]
    assert sum(agent["runs_finished"] for agent in agents) == len(CELLS)
    for agent in agents:
        seen = folder.root / ".runner" / "work" / agent["name"] / "seen"
        assert not seen.exists() or "WANDB_API_KEY" not in seen.read_text()

    folder.run("sync-offline")
    assert {(run.state, len(cloud.rows(run))) for run in of_sweep(cloud, sweep)} == {
        ("finished", 3)
    }
    assert len(of_sweep(cloud, sweep)) == len(CELLS)


def test_what_w_and_b_refuses_is_one_line_with_its_code(folder: Folder, cloud: Cloud) -> None:
    """A wrong key 4, an entity of others 4, an unknown sweep 3, no key 4."""
    foreign = cloud.make_sweep("method: grid\nprogram: train.py\n", project="p", entity="stranger")
    netrc = Path(folder.env["HOME"], ".netrc")

    def refused(sweep: str, code: int) -> str:
        _, err = folder.run("up", "--gpus", "cpu", "--sweep", sweep, code=code)
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "Traceback" not in err
        return lines[0]

    assert refused(foreign, 4).endswith("may not write to entity `stranger`")
    assert "there is no sweep `nothere1`" in refused("nothere1", 3)
    assert "there is no sweep `acme/vision/nothere1`" in refused("acme/vision/nothere1", 3)
    netrc.write_text(netrc.read_text().replace(cloud.key, "w" * 40))
    assert "refused the API key" in refused("acme/vision/nothere1", 4)
    netrc.unlink()
    assert "no W&B key for" in refused("acme/vision/nothere1", 4)


def test_an_outage_in_mid_run_costs_nothing(folder: Folder, cloud: Cloud) -> None:
    """Nobody answers for a while, when runs end, too; all rows arrive, each cell once."""
    sweep = make_sweep(folder, cloud, "x: {values: [1, 2]}, pause: {value: 10}")
    process = folder.start("up", "--gpus", "cpu:2", "--sweep", sweep, "--follow")
    ready = [folder.root / ".runner" / "work" / f"{folder.fleet}-cpu-{i}" / "ready" for i in (0, 1)]
    wait_for(lambda: all(file.exists() for file in ready))

    cloud.off()
    time.sleep(12 * SIZE)
    cloud.on()

    _, err = process.communicate(timeout=200 + 20 * SIZE)
    assert process.returncode == 0, err
    runs = of_sweep(cloud, sweep)
    assert Counter(json.loads(run.config)["x"]["value"] for run in runs) == {1: 1, 2: 1}
    assert {(run.state, len(cloud.rows(run))) for run in runs} == {("finished", 3)}
    log = folder.run("logs")[0]
    assert log.count("does not answer") == log.count("answers again") == 2


def test_a_sweep_deleted_in_mid_run_is_told_once(folder: Folder, cloud: Cloud) -> None:
    """The run goes to its end, the agent leaves and stays down, `--follow` ends with 3."""
    sweep = make_sweep(folder, cloud, "x: {values: [1, 2, 3]}, pause: {value: 12}")
    process = folder.start("up", "--gpus", "cpu", "--sweep", sweep, "--follow")
    lines: list[str] = []
    assert process.stderr
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    wait_for((folder.root / ".runner" / "work" / f"{folder.fleet}-cpu-0" / "ready").exists)

    cloud.delete_sweep(f"acme/vision/{sweep}")

    assert process.wait(timeout=120) == 3, lines
    reader.join()
    assert process.stdout
    process.stdout.close()
    process.stderr.close()
    assert sum("is gone from" in line and "sweep acme" in line for line in lines) == 1
    (agent,) = folder.json("ps")["agents"]
    assert (agent["state"], agent["exit_code"]) == ("finished", 0)
    assert agent["reason"] == "the sweep is gone from its server"
    assert agent["runs_finished"] == 1


def test_a_local_sweep_logs_offline_behind_a_proxy(
    engine_env: TestEngine, plain_image: PlainImage, fleet: str, tmp_path: Path
) -> None:
    """Our server hears the ends from the agents; the caller's proxy, a dead one, is not asked."""
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    made = make_folder(tmp_path / "plain", fleet, engine_env.env | proxy)
    made.use_image(plain_image)
    file = made.write_sweep("sweep.yaml", "wandb", "killed", "short")

    made.run("up", "--gpus", "cpu:2", "--sweep", file, "--offline", "--follow", code=5)

    (sweep,) = made.json("sweep", "list")["sweeps"]
    shown = made.json("sweep", "show", sweep["id"])
    assert {run["config"]["mode"]: run["state"] for run in shown["runs"]} == {
        "wandb": "finished",
        "killed": "failed",
        "short": "finished",
    }
    logs = list((made.root / ".runner" / "runs" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(logs) == 2
    made.run("down")
