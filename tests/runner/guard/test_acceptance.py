"""Where a project's file sends keys, code and files counts once it was accepted for the folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.settings.model import Settings
from runner.user.accepted import accept
from tests.rig.command import ROOT, Done
from tests.rig.warm import WarmRunner

EVIL = "https://wandb.evil.example"
CLAIMS = {
    "server": f'server = "{EVIL}"\n',
    "engine": 'engine = "tcp://evil.example:2375"\n',
    "sync.to": f'[sync]\nto = "{EVIL}"\n',
    "image.context": '[image]\ndockerfile = "Dockerfile"\ncontext = "../.."\n',
    "image.dockerfile": '[image]\ndockerfile = "/etc/passwd"\n',
    "image.dependencies": '[image]\ndependencies = "../requirements.txt"\n',
    "run.sweep": '[run]\nsweep = "../../sweep.yaml"\n',
    "run.live": "[run]\nlive = true\n",
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PATH": os.environ["PATH"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def load(folder: Path, environ: dict[str, str]) -> Settings:
    return load_settings(find_project(folder), environ=environ)


@pytest.mark.parametrize("key", CLAIMS)
def test_what_a_file_says_counts_when_it_was_accepted(
    folder: Path, environ: dict[str, str], key: str
) -> None:
    (folder / "runner.toml").write_text(CLAIMS[key])

    before = load(folder, environ)
    accept(before.claims, environ, remember=True)
    after = load(folder, environ)

    assert [claim.key for claim in before.claims] == [key]
    assert before.get(key) == Settings().get(key)
    assert after.claims == ()
    assert after.get(key)


def test_an_acceptance_is_for_one_folder_one_key_and_one_value(
    folder: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (folder / "runner.toml").write_text(CLAIMS["server"])
    accept(load(folder, environ).claims, environ, remember=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "runner.toml").write_text(CLAIMS["server"])

    assert [one.key for one in load(other, environ).claims] == ["server"]
    (folder / "runner.toml").write_text(f'server = "{EVIL}/2"\n')
    assert [one.key for one in load(folder, environ).claims] == ["server"]


@pytest.mark.slow
def test_what_another_could_write_is_no_acceptance(folder: Path, environ: dict[str, str]) -> None:
    (folder / "runner.toml").write_text(CLAIMS["server"])
    accept(load(folder, environ).claims, environ, remember=True)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom runner.project.find import find_project\n"
        "from runner.settings.load import load_settings\n"
        "print(len(load_settings(find_project(Path(sys.argv[1])), environ=os.environ).claims))\n"
    )

    def count() -> str:
        words = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, check=True)
        return done.stdout.decode().strip()

    assert count() == "0"
    (file,) = Path(environ["XDG_STATE_HOME"], "runner", "accepted").iterdir()
    file.chmod(0o666)
    assert count() == "1"


@pytest.mark.parametrize(
    ("text", "file", "content"),
    [
        ('server = "local"\n', None, ""),
        ('server = "https://api.wandb.ai"\n', None, ""),
        ('server = "https://wandb.mine.example"\n', ".netrc", "machine wandb.mine.example\n"),
        ('server = "https://wandb.mine.example"\n', ".config/wandb/settings", "[default]\n"),
        ('engine = "unix:///var/run/docker.sock"\n', None, ""),
        ('[image]\ndependencies = "deps/requirements.txt"\n', None, ""),
        ("[run]\nlive = false\n", None, ""),
    ],
)
def test_what_is_ones_own_is_not_asked_for(
    folder: Path, environ: dict[str, str], text: str, file: str | None, content: str
) -> None:
    (folder / "runner.toml").write_text(text)
    if file:
        place = Path(environ["HOME"], file)
        place.parent.mkdir(parents=True, exist_ok=True)
        more = "login user\npassword secret\n" if file == ".netrc" else ""
        more = more or "base_url = https://wandb.mine.example\n"
        place.write_text(content + more)
        place.chmod(0o600)

    assert load(folder, environ).claims == ()


def test_a_repository_around_the_project_is_the_projects(
    folder: Path, environ: dict[str, str]
) -> None:
    (folder / ".git").mkdir()
    inner = folder / "inner"
    inner.mkdir()
    (inner / "runner.toml").write_text('[image]\ndockerfile = "Dockerfile"\ncontext = ".."\n')

    assert load(inner, environ).claims == ()


def call(warm: WarmRunner, folder: Path, environ: dict[str, str], *words: str) -> Done:
    return warm.run(*words, cwd=folder, env={**environ, "DOCKER_HOST": "unix:///nonexistent"})


@pytest.mark.slow
def test_a_script_says_yes_and_nobody_is_waited_for(
    warm: WarmRunner, folder: Path, environ: dict[str, str]
) -> None:
    (folder / "runner.toml").write_text(CLAIMS["server"])
    (folder / "train.py").write_text("")
    ask = ("build", "--cpu", "--dry-run")

    refused = call(warm, folder, environ, *ask)
    for_once = call(warm, folder, environ, *ask, "--yes")
    again = call(warm, folder, environ, *ask)
    overridden = call(warm, folder, environ | {"RUNNER_SERVER": "local"}, *ask)

    assert refused.returncode == 2
    assert f"runner.toml: `server` is `{EVIL}`, so runs and code go to {EVIL}" in refused.stderr
    assert "hint: `--yes` accepts it for this folder; RUNNER_SERVER overrides it" in refused.stderr
    assert for_once.returncode == 0
    assert again.returncode == 2  # a dry run remembers nothing
    assert overridden.returncode == 0


@pytest.mark.slow
def test_a_look_says_what_does_not_count(
    warm: WarmRunner, folder: Path, environ: dict[str, str]
) -> None:
    (folder / "runner.toml").write_text(CLAIMS["server"])

    shown = call(warm, folder, environ, "config", "--json")

    rows = {one["key"]: one for one in json.loads(shown.stdout)["settings"]}
    assert rows["server"]["value"] == "local"
    assert "not accepted yet" in shown.stderr
    assert shown.returncode == 0
