"""The data folders that earlier versions of the server left: `format1` and `format3` are kept.

    git archive 0eb7efa | tar x -C CHECKOUT
    python -m tests.runner.server.earlier CHECKOUT format1

Format 3 is that of 325977b, the last version that kept rows in files.

A sweep of 12 cells in the middle: runs that are finished, failed, killed, preempted, running and
pending, three agents of ours, an uploaded file, an artifact, and a second sweep that is paused. The
server is killed, so what its write-ahead log holds is part of it. The database is kept as the text
of an SQL dump.
"""

import json
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from runner.disk.migrations import read_migrations
from tests.chaos.scripted import ARTIFACT_FILES, COMMIT, CONFIG, CREATE_ARTIFACT, STOP
from tests.runner.server.player import Player
from tests.runner.server.servers import KEY, Server

HERE = Path(__file__).parent
LINES_IN_FILES = 3  # the last format that had them there; each later one is made from it
DUMP = "server.sql"


def log(player: Player, run: str, first: int, count: int) -> None:
    """Rows, summary and console of a run."""
    rows = [{"_step": step, "loss": 1 / (1 + step)} for step in range(first, first + count)]
    content = [json.dumps(row) for row in rows]
    files: dict[str, object] = {
        "wandb-history.jsonl": {"offset": first, "content": content},
        "wandb-summary.json": {"offset": 0, "content": [json.dumps(rows[-1])]},
        "output.log": {"offset": first, "content": [f"step {row['_step']}" for row in rows]},
        "wandb-events.jsonl": {"offset": first, "content": ['{"system.cpu": 1}'] * count},
    }
    player.stream(run, {"files": files})


def report(run: str, code: int, cause: str | None, lines: Sequence[str] = ()) -> dict[str, object]:
    """Our agent's report of a process that ended."""
    return {"run": run, "exit_code": code, "signal": None, "class": cause, "lines": [*lines]}


def play(player: Player) -> None:
    """Leave a sweep in the middle."""
    sweep = player.create_sweep(CONFIG)
    paused = player.create_sweep("{method: random, parameters: {x: {min: 0.0, max: 1.0}}}")
    player.change_sweep(paused, "PAUSED")
    agents = {name: player.join(sweep, name) for name in ("gpu-a", "gpu-b", "gpu-c")}
    ended: dict[str, list[dict[str, object]]] = {name: [] for name in agents}

    def hand_out(name: str) -> str:
        [command] = player.beat(agents[name], name=name, ended=ended[name])
        ended[name] = []
        return str(command["run_id"])

    def work(name: str, code: int, cause: str | None, lines: Sequence[str] = ()) -> str:
        run = hand_out(name)
        node = player.begin(run, sweep=sweep)
        log(player, run, 0, 6)
        if cause == "stopped":
            player.ask(STOP, id=node)
        player.stream(run, {"complete": True, "exitcode": code})
        ended[name].append(report(run, code, cause, lines))
        return run

    finished = work("gpu-a", 0, None)
    player.upload(finished, {"config.yaml": b"lr: 0.1\n"})
    asked = {"project": player.project, "run": finished, "digest": "d"}
    made = player.ask(CREATE_ARTIFACT, **asked)["createArtifact"]["artifact"]["id"]
    files = player.ask(ARTIFACT_FILES, files=[{"artifactID": made, "name": "w.bin"}])
    player.put(files["createArtifactFiles"]["files"]["edges"][0]["node"]["uploadUrl"], b"weights")
    player.ask(COMMIT, id=made)
    work("gpu-a", 1, "crash", ["ValueError: no"])
    work("gpu-a", 255, "stopped")
    preempted = hand_out("gpu-b")
    running = hand_out("gpu-a")
    player.begin(running, sweep=sweep)
    log(player, running, 0, 4)
    player.beat(agents["gpu-a"], running, name="gpu-a")
    hand_out("gpu-c")  # and nothing more: the run is pending
    player.begin(preempted, sweep=sweep)
    log(player, preempted, 0, 3)
    player.stream(preempted, {"complete": True, "exitcode": 75})
    leaving = [report(preempted, 75, "preempted")]
    player.beat(agents["gpu-b"], name="gpu-b", ended=leaving, leaving=True)


def dump(database: Path) -> str:
    """The whole database as SQL, its version included."""
    with closing(sqlite3.connect(database)) as opened:
        version = opened.execute("pragma user_version").fetchone()[0]
        return (
            "".join(f"{line}\n" for line in opened.iterdump()) + f"pragma user_version={version};\n"
        )


def restore(folder: Path, name: str = "format1") -> None:
    """The data folder as it was."""
    shutil.copytree(HERE / name / "data", folder)
    with closing(sqlite3.connect(folder / "server.db")) as database:
        database.executescript((folder / DUMP).read_text())
    (folder / DUMP).unlink()


def restore_format(folder: Path, number: int) -> None:
    """A data folder as the version of that format left it: what is kept of it, or made from that.

    The later ones have the lines of runs in the database.
    """
    restore(folder, "format1" if number < LINES_IN_FILES else f"format{LINES_IN_FILES}")
    with closing(sqlite3.connect(folder / "server.db", isolation_level=None)) as database:
        [found] = database.execute("pragma user_version").fetchone()
        for one in read_migrations("runner.server")[found:number]:
            database.executescript(f"begin;{one.sql};pragma user_version={one.number};commit")
        if number > LINES_IN_FILES:
            take_lines(folder, database)


def take_lines(folder: Path, database: sqlite3.Connection) -> None:
    """The lines of runs go from their files into the database, as small chunks."""
    logs = database.execute("select entity, project, run, kind from old_log").fetchall()
    for entity, project, run, kind in logs:
        file = folder / "runs" / entity / project / run / f"{kind}.jsonl"
        lines = file.read_text().splitlines()
        file.unlink()
        for first, line in enumerate(lines):
            step = json.loads(line)["_step"] if kind == "history" else None
            database.execute(
                "insert into chunk(entity, project, run, kind, first, count, low, high, data)"
                " values(?,?,?,?,?,1,?,?,?)",
                (entity, project, run, kind, first, step, step, line.encode()),
            )
    database.execute(
        "update run set last_step=(select max(high) from chunk where chunk.entity=run.entity"
        " and chunk.project=run.project and chunk.run=run.id)"
    )
    database.execute("delete from old_log")


def main(checkout: Path, name: str) -> None:
    """Play against that checkout's server, and keep what it leaves."""
    kept = HERE / name / "data"
    with tempfile.TemporaryDirectory() as temporary:
        server = Server(Path(temporary) / "data", code=checkout)
        server.data.mkdir()
        (server.data / "key").write_text(KEY)
        server.start()
        play(Player(server.url, KEY))
        server.stop(signal.SIGKILL)
        text = dump(server.data / "server.db")
        for file in ("server.db", "server.db-wal", "server.db-shm", "lock"):
            (server.data / file).unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(server.data, kept)
    (kept / DUMP).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
