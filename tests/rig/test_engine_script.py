"""The source of Debian's packages in `docker/engine.sh`: never a host of its own choice."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.rig.engine import ROOT, SCRIPT

BOOKWORM = "http://mirror.example/debian/ bookworm main bookworm"


def ask(folder: Path, listed: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Call `mirror` on a machine whose apt lists these sources."""
    apt = folder / "apt-get"
    apt.write_text(f"#!/bin/sh\ncat <<'E'\n{listed}\nE\n")
    apt.chmod(0o755)
    return subprocess.run(
        ["bash", "-c", f"source {SCRIPT} env >/dev/null; need_mirror; echo $MIRROR; echo went on"],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "listed",
    [
        BOOKWORM,
        "http://security.example/ bookworm-security main\n" + BOOKWORM,
        "http://mirror.example/debian stable main bookworm",  # its Release file has the codename
        "http://mirror.example/debian/ bookworm main",  # before the first `apt-get update`
        "cdrom:[Debian] bookworm main bookworm\n" + BOOKWORM,
    ],
)
def test_the_mirror_is_that_of_apts_own_sources(listed: str, tmp_path: Path) -> None:
    done = ask(tmp_path, listed)

    assert (done.returncode, done.stdout) == (0, "http://mirror.example/debian\nwent on\n")


def test_another_may_be_named(tmp_path: Path) -> None:
    done = ask(tmp_path, BOOKWORM, RUNNER_ENGINE_MIRROR="https://other.example/debian/")

    assert done.stdout.startswith("https://other.example/debian\n")


@pytest.mark.parametrize("listed", ["", "http://ubuntu.example/ubuntu noble main noble"])
def test_without_one_the_error_names_the_variable(listed: str, tmp_path: Path) -> None:
    done = ask(tmp_path, listed)

    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error == "error: apt's sources name no archive of Debian 12 (bookworm)"
    assert "RUNNER_ENGINE_MIRROR" in hint


def test_no_script_names_a_host_but_pytorchs_index() -> None:
    """The index is documented, and used only after the user's own sources."""
    found = set()
    for script in (ROOT / "docker").glob("*.sh"):
        found |= set(re.findall(r"https?://([\w.-]+)", script.read_text()))

    assert found == {"download.pytorch.org"}


def test_the_workflow_names_a_mirror_for_its_ubuntu() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()

    assert re.search(r"^ +RUNNER_ENGINE_MIRROR: https?://\S+$", text, re.MULTILINE)
