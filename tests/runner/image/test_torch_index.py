"""Where a build of torch for CPUs comes from: the user's own sources, else PyTorch's index."""

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.rig.command import ROOT

SCRIPT = ROOT / "docker" / "torch-index.sh"
CPU, CUDA = "torch==2.13.0+cpu", "torch>=2.5,<2.14"
NOBODY = "http://127.0.0.1:9/whl/cpu"


@pytest.fixture
def index() -> Iterator[str]:
    """An index that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/whl/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        server.shutdown()
        thread.join()


def ask(folder: Path, wanted: str, *, has_it: bool, index: str) -> tuple[int, str, str]:
    """Exit code and what is said, with an installer whose sources have the requirement, or not."""
    installer = folder / "installer"
    installer.write_text(f'#!/bin/sh\necho "$@" >{folder}/asked\nexit {int(not has_it)}\n')
    installer.chmod(0o755)
    done = subprocess.run(
        [str(SCRIPT), wanted, str(installer), "install", "--find-links", "w"],
        env={"PATH": os.environ["PATH"], "TORCH_INDEX": index},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_users_own_sources_go_first(tmp_path: Path) -> None:
    assert ask(tmp_path, CPU, has_it=True, index=NOBODY) == (0, "", "")
    asked = (tmp_path / "asked").read_text()
    assert asked == f"install --find-links w --quiet --dry-run --no-deps {CPU}\n"


def test_the_index_is_named_where_it_answers(tmp_path: Path, index: str) -> None:
    assert ask(tmp_path, CPU, has_it=False, index=index) == (0, f"--extra-index-url {index}\n", "")


def test_without_either_nothing_is_installed(tmp_path: Path) -> None:
    code, said, error = ask(tmp_path, CPU, has_it=False, index=NOBODY)

    assert (code, said) == (6, "")
    assert error.startswith(f"error: no build of torch for CPUs ({CPU}) is in reach\nhint: ")
    assert NOBODY in error


def test_builds_with_cuda_are_not_looked_for(tmp_path: Path) -> None:
    """PyPI's are for CUDA 13; for another CUDA the index is named and not asked."""
    assert ask(tmp_path, CUDA, has_it=False, index="") == (0, "", "")
    assert ask(tmp_path, CUDA, has_it=False, index=NOBODY)[1] == f"--extra-index-url {NOBODY}\n"
    assert not (tmp_path / "asked").exists()
