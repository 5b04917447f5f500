"""A sweep of `runner serve` over HTTPS, with an authority of one's own, worked on by containers."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.certificate import Certificate, make_certificate
from tests.rig.command import start_runner
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder

pytestmark = pytest.mark.engine


@dataclass(frozen=True, slots=True)
class Served:
    """A server off loopback."""

    url: str
    key: str
    certificate: Certificate


@pytest.fixture
def served(engine_env: TestEngine, tmp_path: Path) -> Iterator[Served]:
    """`runner serve` at the address of the engine's bridge, which containers reach."""
    host = engine_env.gateway()
    made = make_certificate(tmp_path / "tls", (host,))
    words = ("serve", "--host", host, "--port", "0", "--data", "data")
    options = ("--tls-cert", str(made.chain), "--tls-key", str(made.key))
    with start_runner(*words, *options, cwd=tmp_path) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        yield Served(url, (tmp_path / "data" / "key").read_text().strip(), made)
        process.send_signal(signal.SIGTERM)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert re.fullmatch(rf"https://{re.escape(host)}:\d+", url), errors
    assert "warning:" not in errors
    assert process.returncode == 0, errors


@pytest.fixture
def folder(
    engine_env: TestEngine, plain_image: PlainImage, served: Served, fleet: str, tmp_path: Path
) -> Iterator[Folder]:
    """A project whose user names the server, its key and its authority."""
    (tmp_path / "home").mkdir()
    named = {"RUNNER_SERVER": served.url, "WANDB_API_KEY": served.key, "WANDB_BASE_URL": served.url}
    home = {"HOME": str(tmp_path / "home"), "SSL_CERT_FILE": str(served.certificate.authority)}
    made = make_folder(tmp_path / "plain", fleet, engine_env.env | named | home)
    made.use_image(plain_image)
    yield made
    made.run("down")


def test_agents_and_their_runs_trust_the_authority_of_the_one_who_called_up(
    folder: Folder, served: Served
) -> None:
    """The real client and its core, in a container; commands that read the sweep on the host."""
    sweep = folder.write_sweep("sweep.yaml", "wandb")

    _, said = folder.run("up", "--gpus", "cpu:1", "--sweep", sweep, "--follow")

    path = folder.json("sweep", "list")["sweeps"][0]["path"]
    [run] = folder.json("sweep", "show", path)["runs"]
    assert f"server: {served.url}" in said
    assert (run["state"], run["summary"]["_step"]) == ("finished", 2)
    assert served.key not in said


def test_without_the_authority_nothing_starts_and_the_line_says_what_to_name(
    folder: Folder, served: Served
) -> None:
    del folder.env["SSL_CERT_FILE"]
    sweep = folder.write_sweep("sweep.yaml", "wandb")

    out, said = folder.run("up", "--gpus", "cpu:1", "--sweep", sweep, code=None)

    assert "certificate" in said
    assert "SSL_CERT_FILE" in said
    assert served.url.partition("://")[2].partition(":")[0] in said
    assert out == ""
    assert folder.json("ps")["agents"] == []
