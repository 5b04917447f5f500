"""Sweeps of a server that plays W&B's cloud, joined from compose.yaml and by `runner compose`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.gpus.leases import LEASES
from tests.rig.cloud import start_cloud
from tests.rig.composed import BOTH, DEAD_PROXIES, Composed
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import PlainImage
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine

LABELS = ("role", "fleet", "gpu", "sweep", "server", "image", "schema")


@pytest.fixture
def machine(composed: Composed) -> Iterator[FakeNvml]:
    """Three GPUs that the host and the engine know."""
    if composed.engine.cdi_folder is None:
        pytest.skip("cdi: the engine takes no CDI specs of ours")
    with FakeNvml([FakeGpu(), FakeGpu(), FakeGpu()]) as made:
        made.add_to_engine(composed.engine.cdi_folder)
        yield made
        for gpu in made.gpus:
            (LEASES / gpu.uuid).unlink(missing_ok=True)


def test_a_sweep_on_wandb_is_joined_with_a_key_from_a_file(composed: Composed) -> None:
    """The server idles; the key is in no file of Compose's and no record of the engine's."""
    folder = composed.folder
    place = folder.root.parent
    host = composed.engine.gateway()
    with start_cloud(place / "cloud", host=host, limit_every=0, lag_s=0) as cloud:
        config = "program: train.py\nmethod: grid\nparameters: {mode: {values: [wandb]}}\n"
        path = cloud.make_sweep(config, project="hands")
        netrc = cloud.write_netrc(place)
        env = {
            **DEAD_PROXIES,  # and NO_PROXY
            "RUNNER_KEY_FILE": str(netrc),
            "RUNNER_CA_FILE": str(cloud.ca_file),
            "WANDB_BASE_URL": cloud.url,
            "SWEEP": path,
            "NO_PROXY": host,
        }

        composed.compose(*BOTH, "up", "--detach", env=env)
        code = composed.wait(f"{composed.project}-agent-0-1")

        states = sorted(run.state for run in cloud.runs("hands"))
        shown = composed.shown(*BOTH, env=env)
    assert (code, states) == (0, ["finished"])
    assert "nothing to do here" in shown
    assert cloud.key not in shown
    assert [one["sweep"] for one in folder.json("ps")["agents"]] == [path]
    folder.run("down")
    assert composed.containers() == []
    secrets = folder.root / ".runner" / "secrets"
    assert cloud.key not in "".join(one.read_text() for one in secrets.rglob("*") if one.is_file())


def test_two_gpus_work_on_a_sweep_of_wandb_as_by_up(
    composed: Composed, machine: FakeNvml, plain_image: PlainImage
) -> None:
    """Over HTTPS with an authority of its own, the key only in ~/.netrc; it is seen nowhere."""
    folder, host = composed.folder, composed.engine.gateway()
    place = folder.root.parent
    wanted = [machine.gpus[0].uuid, machine.gpus[2].uuid]
    names = [f"runner-{uuid[4:].replace('-', '')[:12]}-0" for uuid in wanted]
    folder.use_image(plain_image)
    with start_cloud(place / "cloud", host=host, limit_every=0, lag_s=0) as cloud:
        cells = "mode: {values: [short, wandb]}, n: {values: [1, 2]}"
        config = f"program: train.py\nmethod: grid\nparameters: {{{cells}}}\n"
        path = cloud.make_sweep(config, project="hands")
        cloud.write_netrc(place)
        folder.env |= machine.env() | {
            "HOME": str(place),
            "SSL_CERT_FILE": str(cloud.ca_file),
            "WANDB_BASE_URL": cloud.url,
            "WANDB_PROJECT": "hands",
            "RUNNER_SERVER": "",
            "NO_PROXY": host,
        }

        # a warm run is a fork: its command line is its parent's
        (folder.root / "runner.toml").write_text('[run]\npreload = ["off"]\n')
        _, said = folder.run("compose", "--gpus", "0", "--sweep", "nothere1", code=3)
        folder.run("compose", "--gpus", "0,2", "--sweep", path.rpartition("/")[2])
        composed.compose("up", "--detach")
        lines = wait_for_command_lines(folder.root / ".runner" / "work")
        codes = [composed.wait(name) for name in names]

        agents = folder.json("ps")["agents"]
        assert codes == [0, 0]
        assert [one["sweep"] for one in agents] == [path, path]
        assert sum(one["runs_finished"] for one in agents) == len(cloud.runs("hands")) == 4
        assert cloud.runs("hands")[0].id in folder.run("logs")[0]
        by_compose = labels_of(composed.containers())
        assert sorted(by_compose) == sorted(names)
        shown = composed.shown()
        folder.run("down")
        assert composed.containers() == []

        other = cloud.make_sweep(config, project="hands")
        folder.run("up", "--gpus", "0,2", "--sweep", other)
        by_up = labels_of(json.loads(composed.engine.docker("inspect", *names)))
        assert by_up == {name: {**by_compose[name], "sweep": other} for name in names}
        assert {labels["sweep"] for labels in by_compose.values()} == {path}
        folder.run("down")
    assert "there is no sweep `nothere1`" in said
    assert cloud.key not in shown + lines
    assert cloud.record.keys == {cloud.key}


def labels_of(boxes: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The labels that are the record of a fleet, of each agent by its name."""
    found = {box["Name"].removeprefix("/"): box["Config"]["Labels"] for box in boxes}
    return {
        name: {label: labels[f"dev.runner.{label}"] for label in LABELS}
        for name, labels in found.items()
        if labels.get("dev.runner.role") == "agent"
    }


def wait_for_command_lines(works: Path) -> str:
    """Those of all processes while a run is under way."""
    wait_for(lambda: list(works.glob("*/ready")), otherwise=lambda: "no run has started")
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:  # it has ended
            continue
    assert any("--mode=short" in line for line in lines)
    return "\n".join(lines)
