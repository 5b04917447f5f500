"""An image of the user's own, without `/opt/project`: its programs write into the container."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import PlainImage, make_folder
from tests.runner.image.layouts import environment, make_shelf

pytestmark = pytest.mark.engine

DOCKERFILE = """
FROM {base}
USER root
RUN mkdir -m 1777 /app && mv /opt/project/train.py /app/ && rm -rf /opt/project
WORKDIR /app
"""


@pytest.fixture
def own_image(engine_env: TestEngine, plain_image: PlainImage) -> Iterator[str]:
    """A tag of such an image, made from the plain one."""
    tag = f"runner-test/own-{os.getpid()}"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, "-"],
        input=DOCKERFILE.format(base=plain_image.record["tag"]),
        env=os.environ | engine_env.env,
        text=True,
        check=True,
        capture_output=True,
    )
    yield tag
    engine_env.docker("rmi", "--force", tag)


def _is_read_only(engine: TestEngine, agent: str) -> bool:
    shown = engine.docker("inspect", "-f", "{{.HostConfig.ReadonlyRootfs}}", f"runner-{agent}")
    return shown.strip() == "true"


def test_a_built_image_that_is_named_has_a_read_only_root(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path, fleet: str
) -> None:
    """As it comes to a machine without a registry: by `docker load`, under any name."""
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    sweep, tag = folder.write_sweep("sweep.yaml", "short"), f"mine.example/{fleet}:1"
    engine_env.docker("tag", plain_image.id, tag)

    folder.run("up", "--gpus", "cpu", "--image", tag, "--sweep", sweep, "--follow")

    assert _is_read_only(engine_env, f"{fleet}-cpu-0")
    (agent,) = folder.json("ps")["agents"]
    assert agent["runs_finished"] == 1
    folder.run("down")
    engine_env.docker("rmi", tag)


def test_what_it_wrote_is_copied_before_its_container_goes(
    engine_env: TestEngine, own_image: str, tmp_path: Path, fleet: str
) -> None:
    """Its own files stay out; `down` says where the rest is."""
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    sweep = folder.write_sweep("sweep.yaml", "short")
    agent, work = f"{fleet}-cpu-0", folder.root / ".runner" / "work"
    folder.run("up", "--gpus", "cpu", "--image", own_image, "--sweep", sweep, "--follow")
    assert not _is_read_only(engine_env, agent)  # it works in the image
    assert not list((work / agent).iterdir())

    _, said = folder.run("down")

    assert f"{agent}: its files are in `{work / agent}`" in said
    assert [one.name for one in (work / agent).iterdir()] == ["ready"]
    assert (work / agent / "ready").stat().st_uid == os.getuid()


WAYWARD = f"""
FROM @base
{environment("/opt/conda", packages=False, conda=True)}
{environment("/opt/conda/envs/train", conda=True)}
RUN mkdir -p /srv/lab && chmod 1777 /srv/lab && echo 'echo started; exit 9' > /entry.sh
ENV PATH=/opt/conda/bin:$PATH
COPY <<'PROGRAM' /srv/lab/train.py
import pathlib, sys
import wandb
pathlib.Path("prefix").write_text(sys.prefix)
with wandb.init() as run:
    run.log({{"loss": 1.0}})
PROGRAM
USER agent
WORKDIR /srv/lab
ENTRYPOINT ["sh", "/entry.sh"]
CMD ["--help"]
"""


def test_an_image_with_entrypoint_user_folder_and_conda_works_as_it_is(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path, fleet: str
) -> None:
    """The entrypoint would end it; `python` on the image's PATH has no wandb."""
    shelf = make_shelf(engine_env, plain_image.record["tag"])
    tag = shelf.build("wayward", WAYWARD)
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    (folder.root / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss, goal: minimize}\n"
        "parameters: {a: {values: [1]}}\n"
        "command: ['${env}', python, '${program}']\n"
    )
    start = ("up", "--gpus", "cpu", "--image", tag, "--sweep", "sweep.yaml", "--follow")

    _, said = folder.run(*start)
    folder.run("down")
    shelf.remove()

    assert "finished: loss 1" in said
    work = folder.root / ".runner" / "work" / f"{fleet}-cpu-0"
    assert (work / "prefix").read_text() == "/opt/conda/envs/train"
    assert (work / "prefix").stat().st_uid == os.getuid()
