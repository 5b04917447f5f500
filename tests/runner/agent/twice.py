"""An agent by hand whose program comes with other files; and the same run cold and warm."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.runner.agent.door import Door, serve
from tests.runner.agent.hand import Hand

OFF = '["off"]'


def run_twice(
    folder: Path,
    program: str,
    *,
    command: str = "",
    files: dict[str, str] | None = None,
    site: Path | None = None,
) -> Iterator[tuple[Hand, str, str]]:
    """The agent, its stdout and stderr, of one run cold and one warm, at the same place."""
    for preload in (OFF, "[]"):
        with serve() as door:
            door.add("r1", lr=0.1)
            more = {"RUNNER_PRELOAD": preload} | ({"PYTHONPATH": str(site)} if site else {})
            hand = make_hand(folder, door, program, command, files or {}, **more)
            code, out, err = hand.start().finish(timeout_s=120)
        assert code == 0, err
        assert ("r1 starts warm" in err) == (preload != OFF), err
        yield hand, out, err


def make_hand(
    folder: Path, door: Door, program: str, command: str, files: dict[str, str], **env: str
) -> Hand:
    """An agent whose home is the folder; `command`: by default the agent's own."""
    hand = Hand(folder, door, program, HOME=str(folder), PYTHONDONTWRITEBYTECODE="1", **env)
    for name, text in files.items():
        (hand.project / name).parent.mkdir(parents=True, exist_ok=True)
        (hand.project / name).write_text(text)
    if command:
        hand.env["RUNNER_COMMAND"] = json.dumps(command.split())
    return hand
