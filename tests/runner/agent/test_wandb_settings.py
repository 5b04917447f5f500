"""Programs that drop W&B's variables between their folds still talk to the sweep's server."""

import configparser
from pathlib import Path

import pytest

from tests.rig.listener import listening
from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand
from tests.runner.server.clients import OLDEST, OURS, client_python
from tests.runner.server.player import Player
from tests.runner.server.servers import Server

FOLDS = """
import os, tempfile, wandb
for fold in range(2):
    for name in list(os.environ):
        if name.startswith("WANDB_") and name != "WANDB_API_KEY":
            del os.environ[name]
    os.chdir(tempfile.mkdtemp())
    run = wandb.init(name=f"fold-{fold}")
    run.log({"loss": 0.5})
    run.finish()
    print("at", run.entity, run.project, run.dir, flush=True)
"""


@pytest.mark.client
@pytest.mark.parametrize("version", [OURS, OLDEST])
def test_a_program_without_the_variables_logs_to_the_same_server(
    tmp_path: Path, version: str
) -> None:
    """Whatever leaves the machine would go through the proxy, which hears of no key."""
    server = Server(tmp_path / "data")
    server.data.mkdir()
    (server.data / "key").write_text(KEY)
    server.start()
    try:
        with Player(server.url, KEY, "proj") as player, listening() as (proxy, heard):
            sweep = player.create_sweep(
                "{program: train.py, method: grid, parameters: {x: {values: [1]}}}"
            )
            hand = Hand(
                tmp_path,
                Door(url=server.url),
                FOLDS,
                RUNNER_SWEEP=f"local/proj/{sweep}",
                RUNNER_COMMAND=f'["{client_python(version)}", "${{program}}"]',
                HOSTNAME="0123456789ab",
                HOME=str(tmp_path / "home"),
                HTTPS_PROXY=proxy,
                NO_PROXY="127.0.0.1",
                RUNNER_IDLE_TIMEOUT_S="60",
            )
            code, out, err = hand.start().finish(120)
            names = {
                edge["node"]["displayName"]
                for edge in server.ask(
                    '{project(name:"proj",entityName:"local"){runs{edges{node{displayName}}}}}'
                )["project"]["runs"]["edges"]
            }
    finally:
        server.stop()

    assert code == 0, err
    assert {"fold-0", "fold-1"} <= names, out
    assert out.count("at local proj /") == 2
    assert set(heard) <= {None}


@pytest.mark.slow
def test_the_file_names_server_and_sweep_and_leaves_other_settings(
    tmp_path: Path, door: Door
) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    (home / ".config/wandb").mkdir(parents=True)
    (home / ".config/wandb/settings").write_text("[default]\nsilent = true\nproject = old\n")
    places = {"HOME": str(home), "WANDB_CONFIG_DIR": str(moved), "HOSTNAME": "0123456789ab"}

    code, _, _ = Hand(tmp_path, door, "", WANDB_MODE="offline", **places).run()

    assert code == 0
    for folder, more in ((home / ".config/wandb", {"silent": "true"}), (moved, {})):
        parser = configparser.ConfigParser()
        parser.read(folder / "settings")
        assert dict(parser["default"]) == {
            "base_url": door.url,
            "entity": "me",
            "project": "proj",
            "mode": "offline",
            **more,
        }


@pytest.mark.slow
def test_a_persons_home_outside_of_a_container_is_left_alone(tmp_path: Path, door: Door) -> None:
    home = tmp_path / "home"
    home.mkdir()

    code, _, _ = Hand(tmp_path, door, "", HOME=str(home), HOSTNAME="a-box").run()

    assert (code, list(home.iterdir())) == (0, [])


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_said_and_runs_go_on(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    (tmp_path / "home").write_text("a file")
    places = {"HOME": str(tmp_path / "home"), "HOSTNAME": "0123456789ab"}

    code, out, err = Hand(tmp_path, door, "print('ran')", **places).run()

    assert (code, out) == (0, "r1 | ran\n")
    assert "cannot write W&B's settings `" in err
