"""Repositories as a stranger may offer them: each would do harm to whom works in it."""

import json
import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SWEEP = "program: train.py\nmethod: grid\nparameters: {x: {values: [1]}}\n"
ESCAPES = "\x1b[2J\x1b]0;title\x07\x1b]52;c;aGk=\x07\r\x9b31m\u202e"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a stranger knows of the user's machine."""

    folder: Path  # of the repository
    outside: Path  # of the user; `outside/secret.txt`, `outside/.ssh/id_rsa`
    mark: Path  # made by any program of theirs that runs
    evil: str  # a server of theirs

    @property
    def program(self) -> str:
        """A program that leaves the mark."""
        return f"#!/bin/sh\necho ran >> {self.mark}\n"

    def write(self, name: str, text: str, *, mode: int = 0o644) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def link(self, name: str, target: Path | str) -> None:
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    def git(self, *words: str) -> None:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b")
        line = ["git", *settings, "-C", str(self.folder), *words]
        subprocess.run(line, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("init", "-q")
        self.git("add", "-Af")
        self.git("commit", "-qm", "first")


def state(scene: Scene) -> None:
    """A state folder, as an archive brings it: of the user who unpacks it."""
    scene.write(".runner/fleet", json.dumps({"format": 1, "name": "evil"}))


def committed_state(scene: Scene) -> None:
    state(scene)
    docker = scene.write("bin/docker", scene.program, mode=0o755)
    engine = {"host": "unix:///var/run/docker.sock", "docker": str(docker)}
    scene.write(".runner/engine.json", json.dumps(engine))
    scene.commit()


def unpacked_engine(scene: Scene) -> None:
    state(scene)
    docker = scene.write("bin/docker", scene.program, mode=0o755)
    engine = {"host": scene.evil.replace("http", "tcp"), "docker": str(docker)}
    scene.write(".runner/engine.json", json.dumps(engine))


def unpacked_plugins(scene: Scene) -> None:
    state(scene)
    scene.write("cfg/buildx/docker-buildx", scene.program, mode=0o755)
    plugins = {"cliPluginsExtraDirs": [str(scene.folder / "cfg" / "buildx")]}
    scene.write("cfg/config.json", json.dumps(plugins))
    scene.write(".runner/cache/buildx/current", json.dumps({"Key": scene.evil, "Name": "evil"}))
    engine = {"host": "unix:///var/run/docker.sock", "docker_config": str(scene.folder / "cfg")}
    scene.write(".runner/engine.json", json.dumps(engine))


def linked_secrets(scene: Scene) -> None:
    state(scene)
    scene.link(".runner/secrets", scene.outside / ".ssh")


def linked_checkpoints(scene: Scene) -> None:
    scene.write(".runner/readme", "")
    scene.link(".runner/checkpoints", scene.outside)


def linked_state_files(scene: Scene) -> None:
    state(scene)
    for name in ("server.json", "engine.json", "lock", "cache/image.json", "sync.db", "sync.lock"):
        scene.link(f".runner/{name}", scene.outside / "secret.txt")


def pipes_in_the_state(scene: Scene) -> None:
    state(scene)
    for name in ("server.json", "engine.json", "lock", "sweeps/a.json", "cache/image.json"):
        place = scene.folder / ".runner" / name
        place.parent.mkdir(exist_ok=True)
        os.mkfifo(place)


def nested_state_files(scene: Scene) -> None:
    deep = "[" * 200_000
    scene.write(".runner/fleet", json.dumps({"format": 1, "name": "evil"}))
    for name in ("server.json", "engine.json", "sweeps/a.json", "cache/image.json"):
        scene.write(f".runner/{name}", deep)


def mounts_of_the_machine(scene: Scene) -> None:
    mounts = ["/:/workspace/root", f"{scene.outside}/.ssh:/workspace/ssh", "/etc:/workspace/etc:ro"]
    scene.write("runner.toml", f"[run]\nmounts = {json.dumps(mounts)}\n")


def another_server(scene: Scene) -> None:
    text = f'server = "{scene.evil}"\nengine = "{scene.evil.replace("http", "tcp")}"\n'
    scene.write("runner.toml", f'{text}[sync]\nto = "{scene.evil}"\n')


def settings_of_wandb(scene: Scene) -> None:
    scene.write("wandb/settings", f"[default]\nbase_url = {scene.evil}\napi_key = {'e' * 40}\n")


def git_settings(scene: Scene) -> None:
    scene.commit()
    run = scene.write(".git/run", scene.program, mode=0o755)
    scene.write(".git/hooks/post-index-change", scene.program, mode=0o755)
    for key in ("core.fsmonitor", "filter.x.clean", "filter.x.process", "core.sshCommand"):
        scene.git("config", key, str(run))
    scene.write(".gitattributes", "* filter=x\n")
    scene.write("train.py", "print(2)\n")


def requirements_outside(scene: Scene) -> None:
    scene.write("requirements.txt", f"-r {scene.outside}/secret.txt\nwandb\n")


def linked_requirements(scene: Scene) -> None:
    scene.link("requirements.txt", scene.outside / "secret.txt")
    scene.link("pyproject.toml", scene.outside / "secret.txt")


def context_outside(scene: Scene) -> None:
    scene.write("Dockerfile", "FROM scratch\nCOPY . /\n")
    image = f'[image]\ndockerfile = "Dockerfile"\ncontext = "{scene.outside}"\n'
    scene.write("runner.toml", image)


def linked_env(scene: Scene) -> None:
    scene.link(".env", scene.outside / "secret.txt")
    scene.link(".dockerignore", "/dev/zero")


def endless_files(scene: Scene) -> None:
    for name in ("sweep.yaml", "train.py", "requirements.txt", "runner.toml", "extra.yml"):
        scene.link(name, "/dev/zero")


def pipes(scene: Scene) -> None:
    for name in ("sweep.yaml", "train.py", "requirements.txt", "pyproject.toml", ".dockerignore"):
        (scene.folder / name).unlink(missing_ok=True)
        os.mkfifo(scene.folder / name)


def escapes_everywhere(scene: Scene) -> None:
    name = f"a{ESCAPES}b"
    values = json.dumps({f"p{ESCAPES}": {"values": [ESCAPES]}})
    scene.write("sweep.yaml", f"program: {json.dumps(name)}\nmethod: grid\nparameters: {values}\n")
    scene.write("runner.toml", f"[run]\n{json.dumps(name)} = {json.dumps(name)}\n")
    scene.write(f"{name}.py", "import wandb\nwandb.init()\n")
    scene.link(f"link{ESCAPES}", scene.outside)
    scene.write("requirements.txt", f"-r {name}\n")


def bombs(scene: Scene) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join(["method: grid", "a0: &a0 [1]", *levels, "parameters: {x: {values: *a11}}"])
    scene.write("sweep.yaml", text + "\n")
    scene.write("runner.toml", "x = " + "[" * 20_000)


def wrong_types(scene: Scene) -> None:
    scene.write("pyproject.toml", 'project = 3\ntool = ["runner"]\n')
    scene.write("uv.lock", 'package = [{name = 3}, "x"]\n')
    scene.write("sweep.yaml", "- 1\n")


def names_that_climb(scene: Scene) -> None:
    scene.write(
        "sweep.yaml",
        f"program: {scene.outside}/secret.txt\nmethod: grid\nname: ../../../x\nproject: ../../x\n"
        "parameters: {../../x: {values: [../../y]}}\n",
    )
    scene.write("runner.toml", f'[run]\nprogram = "{scene.outside}/secret.txt"\n')


def linked_runs(scene: Scene) -> None:
    run = "wandb/offline-run-20260101_000000-evil0001"
    scene.write(f"{run}/run-evil0001.wandb", ":W&B\x00\x00")
    scene.link(f"{run}/files", scene.outside)
    scene.link("wandb/offline-run-20260101_000001-evil0002", scene.outside)


def linked_server_data(scene: Scene) -> None:
    """A server removes what its database does not know, three folders below `runs`."""
    state(scene)
    draft = scene.outside / "papers" / "2026" / "draft.txt"
    draft.parent.mkdir(parents=True)
    draft.write_text("months of work\n")
    scene.write(".runner/server/artifacts/readme", "")
    scene.link(".runner/server/runs", scene.outside.parent)


def linked_server_files(scene: Scene) -> None:
    state(scene)
    for name in ("lock", "server.db", "server.db-wal", "key"):
        scene.link(f".runner/server/{name}", scene.outside / "secret.txt")


def linked_targets(scene: Scene) -> None:
    """Links in the places of files that commands write; none leads to a file that is there."""
    scene.link("backup.tar.part", scene.outside / "secret.txt")
    for name in ("backup.tar", "runner.toml", "sweep_config.yaml", ".env", "wandb"):
        scene.link(name, scene.outside / f"new-{name}")
    scene.link("sweep.yaml", scene.outside / "new-sweep")


REPOSITORIES: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        *(committed_state, unpacked_engine, unpacked_plugins, linked_secrets, linked_checkpoints),
        *(linked_state_files, pipes_in_the_state, nested_state_files, mounts_of_the_machine),
        *(another_server, settings_of_wandb, git_settings, requirements_outside),
        *(linked_requirements, context_outside, linked_env, endless_files, pipes),
        *(escapes_everywhere, bombs, wrong_types, names_that_climb, linked_runs),
        *(linked_server_data, linked_server_files, linked_targets),
    )
}


def make_repository(scene: Scene, kind: str) -> None:
    """A plain project, and then what is hostile in it."""
    scene.write("train.py", "print(1)\n")
    scene.write("requirements.txt", "wandb\n")
    scene.write("sweep.yaml", SWEEP)
    REPOSITORIES[kind](scene)


def make_home(folder: Path) -> None:
    """What is the user's alone."""
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".ssh" / "id_rsa").write_text("SECRET-KEY-OF-THE-USER\n")
    (folder / "secret.txt").write_text("SECRET-TEXT-OF-THE-USER\n")
    for one in folder.rglob("*"):
        one.chmod(0o700 if one.is_dir() else 0o600)


def describe(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Mode and content of all that is in it."""
    return {
        str(one): (
            one.lstat().st_mode,
            one.read_bytes() if stat.S_ISREG(one.lstat().st_mode) else None,
        )
        for one in folder.rglob("*")
    }
