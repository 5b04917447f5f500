"""Logs of runs reach the host wherever they are written, and `sync-offline` finds them."""

import json
import time
from pathlib import Path

import pytest

from tests.rig.cloud import start_cloud
from tests.rig.engine import TestEngine
from tests.rig.plain import PlainImage, make_folder

PROGRAM = """
import pathlib, os, sys, wandb
where = sys.argv[1].partition("=")[2]
folder = pathlib.Path(where, os.environ["WANDB_RUN_ID"] if where == "outputs" else "")
folder.mkdir(parents=True, exist_ok=True)
with wandb.init(dir=str(folder)) as run:
    run.log({"loss": 1})
"""


@pytest.mark.engine
def test_logs_arrive_wherever_a_program_has_put_them(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path
) -> None:
    """The container's `/tmp`; its working folder, as Lightning does; deeper, as Hydra does."""
    fleet = f"test-logs-{time.time_ns() % 0xFFFFFF:x}"
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    folder.use_image(plain_image)
    command = json.dumps(["${env}", "python", "-c", PROGRAM, "${args}"])
    places = "parameters: {where: {values: [/tmp, ., outputs]}}"
    (folder.root / "sweep.yaml").write_text(f"method: grid\n{places}\ncommand: {command}\n")
    try:
        folder.run("up", "--gpus", "cpu", "--sweep", "sweep.yaml", "--offline", "--follow")
        folder.run("down")
        with start_cloud(tmp_path / "cloud", lag_s=0.0) as cloud:
            folder.env |= cloud.environment(tmp_path)
            sent, again = (folder.json("sync-offline", "--to", cloud.url) for _ in range(2))
    finally:
        engine_env.remove_fleet(fleet)

    (log,) = (folder.root / ".runner" / "runs" / "wandb").glob("offline-run-*/run-*.wandb")
    assert log.stat().st_size > 100
    assert (log.parent / "files").is_dir()
    assert (sent["synced"], again["synced"], again["already"]) == (3, 0, 3)
