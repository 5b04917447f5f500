"""Pretrained weights: where they are looked for, and how they get there."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from amt.config.schema import TrunkConfig
from amt.environment import Environment, read_environment
from amt.errors import ConfigError
from amt.trunk import main
from amt.weights import answers, find_weights, require_weights
from tests.amt.micro import make_config

CONTENT = b"weights" * 1000
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody answers
BACKBONE = "vit_small_patch14_dinov2.lvd142m"


class Hub(BaseHTTPRequestHandler):
    """What the hub's client asks for, and no more."""

    def do_HEAD(self) -> None:
        known = self.path in ("/", f"/timm/{BACKBONE}/resolve/main/model.safetensors")
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def make_environment(*folders: Path, hub_url: str = NOWHERE) -> Environment:
    return Environment(
        cache=folders[0], weights=folders, checkpoints=None, threads=1, hub_url=hub_url
    )


def make_trunk(**changes: object) -> TrunkConfig:
    return make_config(**{"pretrained": True, **changes}).trunk


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and working folder of the test's own, with an empty cache of the hub's."""
    for name in ("AMT_CACHE", "RUNNER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fetched_weights_lie_where_agents_containers_find_them(
    home: Path, hub: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / ".runner").mkdir()
    monkeypatch.setenv("HF_ENDPOINT", hub)

    exit_code = main(["fetch", BACKBONE])

    stored = home / ".runner" / "cache" / "agents" / "amt" / "weights"
    assert exit_code == 0
    assert capsys.readouterr().out == f"{stored}/{BACKBONE}.safetensors\n"
    assert (stored / f"{BACKBONE}.safetensors").read_bytes() == CONTENT
    assert len(list(stored.iterdir())) == 1
    assert find_weights(make_trunk(), read_environment()) == stored / f"{BACKBONE}.safetensors"


def test_a_backbone_that_the_hub_lacks_is_one_line(
    home: Path, hub: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)

    exit_code = main(["fetch", "vit_unknown", "--to", str(home / "here")])

    assert exit_code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"error: {hub} does not give `timm/vit_unknown`")
    assert not (home / "here").exists()


def test_the_first_folder_with_the_file_counts_and_a_named_file_most(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders[1:]:
        folder.mkdir()
        (folder / f"{BACKBONE}.safetensors").write_bytes(b"")
    own = tmp_path / "own.pth"
    own.write_bytes(b"")
    environment = make_environment(*folders)

    assert find_weights(make_trunk(), environment) == folders[1] / f"{BACKBONE}.safetensors"
    assert find_weights(make_trunk(pretrained_path=str(own)), environment) == own
    assert find_weights(make_trunk(pretrained=False), environment) is None


def test_a_named_file_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`nowhere\.pth` is not a file"):
        find_weights(make_trunk(pretrained_path="nowhere.pth"), make_environment(tmp_path))


def test_without_weights_and_network_the_way_out_is_named_at_once(tmp_path: Path) -> None:
    began = time.monotonic()

    with pytest.raises(ConfigError) as caught:
        require_weights(make_trunk(), make_environment(tmp_path))

    assert time.monotonic() - began < 5
    assert str(caught.value) == (
        f"no weights for `{BACKBONE}` on this machine, and {NOWHERE} does not answer: run "
        "`python -m amt.trunk fetch` where there is a network, name a file in pretrained_path, "
        "or set pretrained=false"
    )


@pytest.mark.parametrize(
    ("url", "expected"), [(NOWHERE, False), ("http://unknown.invalid", False), ("nonsense", False)]
)
def test_a_place_where_nobody_answers_is_known_within_seconds(url: str, expected: bool) -> None:
    began = time.monotonic()

    assert answers(url) is expected
    assert time.monotonic() - began < 5


def test_an_error_is_an_answer_too(hub: str) -> None:
    assert answers(f"{hub}/unknown")


def test_folders_of_weights_follow_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = home / ".cache" / "amt" / "weights"
    assert read_environment().weights[-1] == own

    monkeypatch.setenv("RUNNER_HOME", str(home / "state"))
    shared = home / "state" / "cache" / "agents" / "amt" / "weights"
    assert read_environment().weights == (shared, own)

    monkeypatch.setenv("AMT_CACHE", str(home / "other"))
    assert read_environment().weights == (home / "other" / "weights",)
