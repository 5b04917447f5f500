"""What a hostile program may leave where the host reads: in the folders that its container writes.

The agent that leaves it is `Scene.agent`; `Scene.other` is at work beside it.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ESCAPES = "\x1b[2J\x1b]0;title\x07\x1b]52;c;aGk=\x07\r\x9b31m\u202e"
RUN = "evilrun1"


@dataclass(frozen=True, slots=True)
class Scene:
    """What the program knows, and where it writes."""

    root: Path  # the state folder
    agent: str
    container: str  # its short ID
    other: str
    other_container: str
    outside: Path  # of the user; `outside/secret.txt`

    @property
    def status(self) -> Path:
        return self.root / "status" / self.agent

    @property
    def work(self) -> Path:
        return self.root / "work" / self.agent

    @property
    def file(self) -> Path:
        """Its status file, of which nothing is there any more."""
        file = self.status / f"{self.agent}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        return file

    @property
    def manifest(self) -> Path:
        """The list of what was placed in its working copy, which it removed."""
        file = self.status / f"{self.agent}.files"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        return file

    def say(self, **fields: Any) -> None:
        """A status of its own."""
        self.file.write_text(json.dumps({**make_status(self.agent, self.container), **fields}))


def make_status(agent: str, container: str) -> dict[str, Any]:
    """What an agent says that has done two runs and waits."""
    return {
        "schema": 1,
        "agent": agent,
        "container": container,
        "pid": 7,
        "sweep": "local/hands/abc123",
        "gpu": {"uuid": "cpu-0", "name": "cpu"},
        "state": "waiting",
        "run": None,
        "runs_finished": 2,
        "runs_failed": 0,
        "reason": None,
        "exit_code": None,
        "updated_at": 4e9,
    }


def pipe_as_status(scene: Scene) -> None:
    os.mkfifo(scene.file)


def endless_status(scene: Scene) -> None:
    scene.file.symlink_to("/dev/zero")


def link_to_a_secret(scene: Scene) -> None:
    scene.file.symlink_to(scene.outside / "secret.txt")


def socket_as_status(scene: Scene) -> None:
    folder = os.open(scene.file.parent, os.O_PATH)  # the path would be too long for a socket
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"/proc/self/fd/{folder}/{scene.file.name}")
    os.close(folder)


def folder_as_status(scene: Scene) -> None:
    (scene.file / "deep" / "deeper").mkdir(parents=True)


def huge_status(scene: Scene) -> None:
    with scene.file.open("wb") as file:
        file.truncate(1 << 40)


def nested_status(scene: Scene) -> None:
    scene.file.write_text("[" * 200_000)


def nested_within_a_status(scene: Scene) -> None:
    text = json.dumps({**make_status(scene.agent, scene.container), "run": "@"})
    scene.file.write_text(text.replace('"@"', '{"id":' * 30_000 + "1" + "}" * 30_000))


def half_characters(scene: Scene) -> None:
    scene.say(reason="\udc80\ud800", run={"id": "\udfff", "state": "running", "started_at": 1.0})


def no_utf8(scene: Scene) -> None:
    text = json.dumps(make_status(scene.agent, scene.container))
    scene.file.write_bytes(text.replace("waiting", "wait\xff").encode("latin-1"))


def escapes_everywhere(scene: Scene) -> None:
    run = {"id": f"r{ESCAPES.replace('/', '')}", "state": ESCAPES, "started_at": 1.0}
    scene.say(reason=f"fine\n0  error: forged {ESCAPES}", sweep=f"a/b/{ESCAPES}", run=run)


def escapes_without_a_run(scene: Scene) -> None:
    gpu = {"uuid": f"GPU-{ESCAPES}", "name": ESCAPES}
    scene.say(reason=f"fine\n0  error: forged {ESCAPES}", sweep=f"a/b/{ESCAPES}", gpu=gpu)


def wrong_types(scene: Scene) -> None:
    scene.say(runs_finished="many", reason=["a"], run=[], gpu=7, updated_at="now", pid=None)


def numbers_without_end(scene: Scene) -> None:
    text = json.dumps({**make_status(scene.agent, scene.container), "updated_at": "@"})
    huge = "9" * 100_000
    scene.file.write_text(text.replace('"@"', "1e999").replace(": 2,", f": {huge},"))


def a_state_of_its_own(scene: Scene) -> None:
    scene.say(state="root", schema=True, runs_finished=-1)


def a_run_that_climbs(scene: Scene) -> None:
    scene.say(state="running", run={"id": "../..", "state": "running", "started_at": 1.0})


def a_run_that_is_a_path(scene: Scene) -> None:
    name = str(scene.outside)
    scene.say(state="running", run={"id": name, "state": "running", "started_at": 1.0})


def checkpoints_elsewhere(scene: Scene) -> None:
    (scene.root / "checkpoints").mkdir(exist_ok=True)
    (scene.root / "checkpoints" / RUN).symlink_to(scene.outside)
    scene.say(state="running", run={"id": RUN, "state": "running", "started_at": 1.0})


def another_agents_name(scene: Scene) -> None:
    """Files of the other agent, where they would lie if the folder were everybody's."""
    forged = make_status(scene.other, scene.other_container)
    scene.say()
    (scene.status / f"{scene.other}.json").write_text(json.dumps({**forged, "state": "failed"}))
    (scene.status / f"{scene.other}.drain").write_text(f"{scene.other_container}\n")
    (scene.status / f"{scene.agent}.drain").write_text(f"{scene.container}\n")


def a_manifest_that_climbs(scene: Scene) -> None:
    files = {f"../../../{scene.outside.name}/secret.txt": "x", str(scene.outside): "x"}
    scene.manifest.write_text(json.dumps({"sweep": "../../../x", "files": files}))


def a_manifest_of_its_own_kind(scene: Scene) -> None:
    scene.manifest.write_text(json.dumps({"sweep": ["x"], "files": {"a": [1], "b": None}}))


def a_nested_manifest(scene: Scene) -> None:
    scene.manifest.write_text('{"sweep": "s", "files": ' + "[" * 200_000)


def a_pipe_as_manifest(scene: Scene) -> None:
    os.mkfifo(scene.manifest)


def a_folder_as_manifest(scene: Scene) -> None:
    (scene.manifest / "deep").mkdir(parents=True)


def names_that_are_taken(scene: Scene) -> None:
    """Under which the agent writes before it renames."""
    for file in (scene.file, scene.manifest):
        file.with_name(f".{file.name}.new").symlink_to(scene.outside / "secret.txt")


def folders_under_names_that_are_taken(scene: Scene) -> None:
    for file in (scene.file, scene.manifest):
        (file.with_name(f".{file.name}.new") / "deep").mkdir(parents=True)


def take_place(scene: Scene, *parts: str) -> Path:
    """A place in its working copy, of which nothing is there any more."""
    place = scene.work.joinpath(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(place):
        place.rename(place.with_name(f"{place.name}.before"))
    return place


def a_link_in_the_way_of_a_mount(scene: Scene) -> None:
    take_place(scene, "ext").symlink_to(scene.outside)


def a_link_in_the_way_of_a_file(scene: Scene) -> None:
    take_place(scene, "etc", "conf.txt").symlink_to(scene.outside / "new.txt")


def a_pipe_in_the_way_of_a_mount(scene: Scene) -> None:
    os.mkfifo(take_place(scene, "ext"))


def odd_names(scene: Scene) -> None:
    for folder in (scene.status, scene.work):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (f"a{ESCAPES.replace('/', '')}", "a\nb", "-rf"):
            (folder / name).write_text("x")
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_text("x")


LEAVINGS: Mapping[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        *(pipe_as_status, endless_status, link_to_a_secret, socket_as_status, folder_as_status),
        *(huge_status, nested_status, nested_within_a_status, half_characters, no_utf8),
        *(escapes_everywhere, escapes_without_a_run, wrong_types, numbers_without_end),
        *(a_state_of_its_own, a_run_that_climbs, a_run_that_is_a_path, checkpoints_elsewhere),
        *(another_agents_name, a_manifest_that_climbs, a_manifest_of_its_own_kind),
        *(a_nested_manifest, a_pipe_as_manifest, a_folder_as_manifest, names_that_are_taken),
        *(folders_under_names_that_are_taken, a_link_in_the_way_of_a_mount),
        *(a_link_in_the_way_of_a_file, a_pipe_in_the_way_of_a_mount, odd_names),
    )
}

IN_THE_WAY = (
    a_link_in_the_way_of_a_mount,
    a_link_in_the_way_of_a_file,
    a_pipe_in_the_way_of_a_mount,
)
"""Those that `up` with mounts there names, and goes no further with this agent."""
