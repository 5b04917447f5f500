"""Sweeps of a server that plays W&B's cloud, worked on by real containers."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.rig.cloud import Cloud, start_cloud
from tests.rig.engine import TestEngine
from tests.rig.listener import listening
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for
from tests.runner.offline.syncing import read_back

pytestmark = pytest.mark.engine

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "1"))  # 5: an outage of a minute, grids of 12
CELLS = list(range(1, 13 if SIZE > 1 else 4))
LONG = SIZE > 1

PROGRAM = """
import os, pathlib, sys, time, wandb

with wandb.init() as run:
    for step in range(run.config.get("rows", 3)):
        run.log({"loss": run.config.x / (step + 1)}, step=step)
        pathlib.Path("row").write_text(str(step))
        time.sleep(run.config.get("nap", 0))
    pathlib.Path("seen").write_text("\\n".join(sorted(os.environ)))
    if run.config.x == run.config.get("fails"):
        sys.exit(3)
    if run.config.x == run.config.get("dies"):
        time.sleep(2.5)  # its log is flushed every second
        os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def cloud(engine_env: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The strict server at the address of the engine's bridge, which containers reach."""
    folder = tmp_path_factory.mktemp("cloud")
    with start_cloud(folder, host=engine_env.gateway(), lag_s=0.0) as started:
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


def cells(runs: list[Any]) -> list[int]:
    """The values of `x` that they had."""
    return sorted(json.loads(run.config)["x"]["value"] for run in runs)


def row_of(folder: Folder, slot: int) -> int:
    """How far the run of this CPU slot is; -1 where none has begun."""
    file = folder.root / ".runner" / "work" / f"{folder.fleet}-cpu-{slot}" / "row"
    return int(file.read_text() or "-1") if file.exists() else -1


def read_command_lines() -> list[bytes]:
    """Those of all processes of this machine, those in containers included."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(file.read_bytes())
    return found


def of_sweep(cloud: Cloud, sweep: str) -> list[Any]:
    """The sweep's runs as the cloud has them."""
    return [run for run in cloud.runs("vision") if run.sweep == sweep]


@pytest.mark.parametrize("gpus", ["cpu:2", *(["0,1"] if LONG else [])])
def test_a_grid_of_theirs_is_finished_live(
    gpus: str, folder: Folder, cloud: Cloud, fake_nvml: Callable[..., FakeNvml]
) -> None:
    """Each cell once; a key only in `~/.netrc`; what reads a sweep reads this one."""
    folder.env |= fake_nvml([FakeGpu(), FakeGpu()]).env()
    sweep = make_sweep(folder, cloud, f"x: {{values: {CELLS}}}")
    limited = cloud.record.statuses[429]

    _, err = folder.run("up", "--gpus", gpus, "--sweep", sweep, "--follow")

    assert (
        f"server: {cloud.url} (WANDB_BASE_URL), key from ~/.netrc, entity the key's own, "
        "W&B project `vision` (WANDB_PROJECT)" in err
    )
    assert cloud.record.statuses[429] > limited
    assert err.count("answers 429") <= 1
    runs = of_sweep(cloud, sweep)
    assert cells(runs) == CELLS
    assert {(run.state, len(cloud.rows(run))) for run in runs} == {("finished", 3)}
    agents = folder.json("ps")["agents"]
    assert sum(agent["runs_finished"] for agent in agents) == len(CELLS)
    seen = [folder.root / ".runner" / "work" / agent["name"] / "seen" for agent in agents]
    for names in (file.read_text() for file in seen if file.exists()):
        assert "TRANSMIT_INTERVAL" not in names
        assert "FLUSH_INTERVAL" not in names
    log = folder.run("logs")[0]
    assert runs[0].id in log
    assert log.count("limits how often it is asked") <= len(agents)

    shown = folder.json("sweep", "show", sweep)
    assert shown["server"] == cloud.url
    assert (shown["engine"], shown["best"]["config"]) == (None, {"x": 1})
    assert shown["best"]["best"] == pytest.approx(1 / 3)
    unknown = ("attempts", "failure", "stopped_early", "agent")
    assert {run[field] for run in shown["runs"] for field in unknown} == {None}
    assert folder.run("sweep", "best", f"{cloud.url}/acme/vision/sweeps/{sweep}/")[0] == "x: 1\n"
    assert [one["path"] for one in folder.json("sweep", "list")["sweeps"]] == [shown["path"]]


def test_keys_stand_nowhere_and_go_to_their_own_host(
    folder: Folder, cloud: Cloud, engine_env: TestEngine, plain_image: PlainImage
) -> None:
    """Not in the engine's records, command lines, logs or files; another host hears nothing."""
    sweep = make_sweep(folder, cloud, "x: {values: [1]}, rows: {value: 6}, nap: {value: 0.5}")
    name = f"runner-{folder.fleet}-cpu-0"
    with listening(host=cloud.host) as (other, heard):
        folder.env |= {"WANDB_BASE_URL": other, "WANDB_API_KEY": "o" * 40}  # for that host
        page = f"{cloud.url}/acme/vision/sweeps/{sweep}"
        process = folder.start("up", "--gpus", "cpu", "--sweep", page, "--follow")
        wait_for(lambda: row_of(folder, 0) >= 0)
        running = read_command_lines()
        out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert [run.state for run in of_sweep(cloud, sweep)] == ["finished"]
    assert heard == []
    assert cloud.record.keys <= {cloud.key, "w" * 40}
    told = [
        *(out, err, engine_env.docker("inspect", name), engine_env.docker("logs", name)),
        engine_env.docker("image", "inspect", plain_image.id),
        engine_env.docker("history", "--no-trunc", plain_image.id),
    ]
    assert not [text for text in told if cloud.key in text or "o" * 40 in text]
    assert len(running) > 5
    assert cloud.key.encode() not in b" ".join(running)
    state = folder.root / ".runner"
    holding = [
        file.relative_to(state)
        for file in state.rglob("*")
        if file.is_file() and cloud.key.encode() in file.read_bytes()
    ]
    key_file = Path("secrets", "agents", f"{folder.fleet}-cpu-0")
    assert holding == [key_file]
    assert (state / key_file).stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("gpus", ["0,1", *(["cpu:2"] if LONG else [])])
def test_a_grid_is_finished_by_runs_that_log_offline(
    gpus: str, folder: Folder, cloud: Cloud, fake_nvml: Callable[..., FakeNvml]
) -> None:
    """The agent asks W&B, the runs have no key: logs on disk, sent whole into the very sweep."""
    folder.env |= fake_nvml([FakeGpu(), FakeGpu()]).env()
    sweep = make_sweep(
        folder,
        cloud,
        f"x: {{values: {CELLS}}}, fails: {{value: 2}}, dies: {{value: 3}}",
        "early_terminate: {type: hyperband, min_iter: 3}\n",
    )

    ask = ("up", "--gpus", gpus, "--sweep", sweep, "--offline", "--follow")
    _, err = folder.run(*ask, code=5)

    assert err.count("no metrics reach early stop with `--offline`") == 1
    logs = list((folder.root / ".runner" / "runs" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(logs) == len(CELLS)
    assert {run.id for run in of_sweep(cloud, sweep)} == {
        log.stem.removeprefix("run-") for log in logs
    }
    assert {len(cloud.rows(run)) for run in of_sweep(cloud, sweep)} == {0}
    agents = folder.json("ps")["agents"]
    assert sum(agent["runs_finished"] for agent in agents) == len(CELLS) - 2
    assert sum(agent["runs_failed"] for agent in agents) == 2
    for agent in agents:
        seen = folder.root / ".runner" / "work" / agent["name"] / "seen"
        assert not seen.exists() or "WANDB_API_KEY" not in seen.read_text()

    first, second = folder.run("sync-offline")[0], folder.run("sync-offline")[0]
    rows = 3 * len(CELLS) - 1  # W&B's client holds a step's row until the next step
    assert first.endswith(f": {len(CELLS)} synced ({rows} rows), 0 already there\n")
    assert second.endswith(f": 0 synced (0 rows), {len(CELLS)} already there\n")
    there = read_back(cloud, "vision", Path(folder.env["HOME"]))
    runs = {run["config"]["x"]: run for run in there.values() if run["sweep"] == sweep}
    assert sorted(runs) == CELLS
    for x, run in runs.items():
        assert run["state"] == ("failed" if x in (2, 3) else "finished")
        losses = [x, x / 2, x / 3][: 2 if x == 3 else 3]
        assert (run["rows"], run["loss"]) == (list(range(len(losses))), losses)
        assert run["summary"] == {"loss": losses[-1]}
        assert run["config"].pop("_runner")["agent"] in {agent["name"] for agent in agents}
        assert run["config"] == {"x": x, "fails": 2, "dies": 3}


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
    assert "is not a sweep ID" in refused(f"{cloud.url}/acme/vision", 2)
    assert "there is no sweep `acme/vision/nothere1`" in refused("acme/vision/nothere1", 3)
    netrc.write_text(netrc.read_text().replace(cloud.key, "w" * 40))
    assert "refused the API key" in refused("acme/vision/nothere1", 4)
    netrc.unlink()
    assert "no key for" in refused("acme/vision/nothere1", 4)


def test_an_outage_in_mid_run_and_mid_heartbeat_costs_nothing(folder: Folder, cloud: Cloud) -> None:
    """Heartbeats break off, then nobody answers, when runs end, too; all rows arrive once."""
    sweep = make_sweep(
        folder, cloud, "x: {values: [1, 2, 3]}, rows: {value: 16}, nap: {value: 0.5}"
    )
    process = folder.start("up", "--gpus", "cpu:2", "--sweep", sweep, "--follow")
    wait_for(lambda: min(row_of(folder, 0), row_of(folder, 1)) >= 0)
    cloud.profile.lost_heartbeats = 2
    wait_for(lambda: not cloud.profile.lost_heartbeats)

    cloud.off()
    before = row_of(folder, 0) + row_of(folder, 1)
    time.sleep(12 * SIZE)
    after = row_of(folder, 0) + row_of(folder, 1)
    cloud.on()

    _, err = process.communicate(timeout=200 + 20 * SIZE)
    assert process.returncode == 0, err
    assert after > before
    runs = of_sweep(cloud, sweep)
    assert cells(runs) == [1, 2, 3]
    assert {run.state for run in runs} == {"finished"}
    steps = [[row["_step"] for row in cloud.rows(run)] for run in runs]
    assert steps == [list(range(16))] * 3
    log = folder.run("logs")[0]
    assert log.count("does not answer") == log.count("answers again") >= 2


@pytest.mark.parametrize("how", [(), *([("--offline",)] if LONG else [])])
def test_a_sweep_deleted_in_mid_run_is_told_once(
    how: tuple[str, ...], folder: Folder, cloud: Cloud
) -> None:
    """The run goes to its end, the agent leaves and stays down, `--follow` ends with 3."""
    sweep = make_sweep(
        folder, cloud, "x: {values: [1, 2, 3]}, rows: {value: 16}, nap: {value: 0.5}"
    )
    process = folder.start("up", "--gpus", "cpu", "--sweep", sweep, "--follow", *how)
    lines: list[str] = []
    assert process.stderr
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    wait_for(lambda: row_of(folder, 0) >= 0)

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


@pytest.mark.usefixtures("server_image")  # no package is fetched through the dead proxy
def test_a_proxy_of_the_callers_does_not_cut_agents_from_our_own_server(
    engine_env: TestEngine, plain_image: PlainImage, fleet: str, tmp_path: Path
) -> None:
    """A dead one: nobody asks it, live or offline; our server hears the ends from the agents."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    lower = {name.lower(): url for name, url in proxies.items()}
    made = make_folder(tmp_path / "plain", fleet, engine_env.env | proxies | lower)
    made.use_image(plain_image)
    live = made.write_sweep("live.yaml", "wandb")
    offline = made.write_sweep("offline.yaml", "wandb", "killed", "short")

    made.run("up", "--gpus", "cpu", "--sweep", live, "--follow")
    made.run("up", "--gpus", "cpu:2", "--sweep", offline, "--offline", "--follow", code=5)

    first, second = made.json("sweep", "list")["sweeps"]
    (run,) = made.json("sweep", "show", first["id"])["runs"]
    assert (run["state"], run["summary"]["_step"]) == ("finished", 2)
    shown = made.json("sweep", "show", second["id"])
    assert {run["config"]["mode"]: run["state"] for run in shown["runs"]} == {
        "wandb": "finished",
        "killed": "failed",
        "short": "finished",
    }
    logs = list((made.root / ".runner" / "runs" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(logs) == 2
    made.run("down")
