"""How often commands ask the engine: not more often for what has ended since."""

from pathlib import Path

import pytest

from tests.rig.ended import make_ended_agents
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.relay import relay

pytestmark = pytest.mark.engine

ENDED = 12  # whether one or a hundred: a look at each would show
MOST = 4


def test_a_look_at_the_fleet_takes_four_questions_however_many_have_ended(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path, fleet: str
) -> None:
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    folder.use_image(plain_image)
    sweep = folder.write_sweep("hold.yaml", "hold", "more")
    folder.run("up", "--gpus", "cpu:1", "--sweep", sweep)
    make_ended_agents(engine_env, fleet, ENDED)
    asked: list[str] = []
    host = engine_env.env["DOCKER_HOST"].removeprefix("unix://")

    with relay(Path(host), tmp_path / "door", asked) as address:
        tapped = Folder(folder.root, fleet, {**engine_env.env, "DOCKER_HOST": address})
        for _ in range(20):  # it looks closer while a probe of another test is there
            asked.clear()
            shown = tapped.json("ps", "--all")
            by_ps = list(asked)
            if len(by_ps) <= MOST:
                break
        asked.clear()
        tapped.run("up", "--gpus", "cpu:1", "--sweep", sweep)
        by_up = [line for line in asked if "/containers/" in line]

    assert len(shown["agents"]) == ENDED + 1
    assert len(by_ps) <= MOST, by_ps
    assert len(by_up) <= MOST, by_up
    looked_at = [line for line in asked if "/containers/" in line and line.endswith("/json")]
    assert [line for line in looked_at if "-server/" not in line] == []
    folder.run("down")
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
