"""Our agent and the real `wandb` client against our server: one truth about how a run ended."""

import json
import re
import time
from pathlib import Path

import pytest

from runner.agent.contract.slots import cpu_slot
from runner.agent.contract.status import Status
from runner.agent.contract.sweeps import SweepPath
from runner.backend.client import Client
from runner.backend.nodes import RunInfo
from runner.errors import ExitCode
from runner.fleet.agents import Agent
from runner.fleet.follow import Search, Snapshot, describe_changes, find_exit_code
from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand
from tests.runner.server.player import Player
from tests.runner.server.servers import Server

PROGRAM = """
import os, signal, sys, time
import wandb
how = dict(arg.lstrip("-").split("=") for arg in sys.argv[1:])["how"]
run = wandb.init()
run.log({"loss": 1.0})
run.log({"loss": 0.5})
while how == "stopped":
    time.sleep(0.1)
    run.log({"loss": 0.5})
run.finish(exit_code=1 if how == "caught" else 0)
if how == "again":
    sys.exit(75)
if how == "killed":
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if how == "crash":
    raise ValueError("boom")
"""
ENDS = {  # the stream ends as finished in all of them but `caught` and `stopped`
    "crash": ("failed", "crash, exit code 1: ValueError: boom"),
    "killed": ("failed", "crash, killed by signal 9: last words"),
    "again": ("finished", None),
    "caught": ("finished", None),
    "stopped": ("killed", None),
}


@pytest.mark.client
def test_server_agent_and_follow_agree_how_each_run_ended(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.data.mkdir()
    (server.data / "key").write_text(KEY)
    server.start()
    try:
        work_off(server, tmp_path)
    finally:
        server.stop()


def work_off(server: Server, folder: Path) -> None:
    """A sweep with a run of each kind."""
    client = Client(server.url, KEY, kind="runner")
    with Player(server.url, KEY, "proj") as player:
        names = ", ".join(ENDS)
        sweep = player.create_sweep(
            f"{{program: train.py, method: grid, parameters: {{how: {{values: [{names}]}}}}}}"
        )
        info = client.find_sweep(SweepPath("local", "proj", sweep))
        assert info is not None
        agent = Hand(
            folder, Door(url=server.url), PROGRAM, RUNNER_SWEEP=str(info.path), HOME=str(folder)
        ).start()
        stopped = stop_the_endless_one(player, client, info.id)
        code, _, said = agent.finish(timeout_s=120 if stopped else 0)
    assert code == 0, said

    runs = list(client.runs(info))
    found = {str(run.config["how"]): run for run in runs}
    assert {how: run.state for how, run in found.items()} == {
        how: state for how, (state, _) in ENDS.items()
    }
    assert [run.attempts for run in runs] == [1] * len(ENDS)  # none was run again
    assert all(run.summary["loss"] == 0.5 for run in runs)  # as the stream says
    status = agent.status()
    assert (status["runs_finished"], status["runs_failed"]) == (3, 2), said
    assert follow_says(runs, status) == {
        f"run {found[how].id} {state}" + (f": {reason}" if reason else "")
        for how, (state, reason) in ENDS.items()
    }


def stop_the_endless_one(player: Player, client: Client, sweep: str) -> bool:
    """As hyperband does: the run's own client is told, not the agent."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        info = client.find_sweep(SweepPath("local", "proj", sweep))
        assert info is not None
        for run in client.runs(info):
            if run.config.get("how") == "stopped" and run.state == "running" and run.summary:
                node = player.begin(run.id)
                player.ask("mutation($id: ID!) {stopRun(input: {id: $id}) {success}}", id=node)
                return True
        time.sleep(0.2)
    return False


def follow_says(runs: list[RunInfo], status: dict[str, object]) -> set[str]:
    """The lines of `--follow` about runs, without time and memory; its exit code is 5."""
    slot, sweep = cpu_slot(0), SweepPath("e", "p", "s")
    left = Status.from_json(json.dumps(status))
    gone = Agent("a-0", "c" * 64, "f", slot, "exited", 0, sweep, "i", "h", status=left)
    before = Snapshot({}, {}, 0.0)
    after = Snapshot({"a-0": gone}, {run.id: run for run in runs}, 0.0)
    assert find_exit_code(before, after) == ExitCode.RUNS_FAILED
    lines = describe_changes(before, after, Search("loss", goal="minimize", parameters=["how"]))
    durations = re.compile(r": [\d.]+ s, host [\d.]+ MiB(, )?")
    return {
        durations.sub(lambda found: ": " if found[1] else "", line)
        for line in lines
        if line.startswith("run ")
    }


FOLDS = """
import os, sys, wandb

def reset():
    for name in [one for one in os.environ if one.startswith("WANDB_")]:
        if name not in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY"):
            del os.environ[name]
    wandb.teardown()

with wandb.init() as whole:
    sweep, run = whole.sweep_id, whole.id
kept, scores = dict(os.environ), []
for fold in range(3):
    reset()
    with wandb.init(group=sweep, job_type=run, name=f"{run}-{fold}", config={"fold": fold}) as one:
        scores.append(float(sys.argv[1].partition("=")[2]) / 64 + fold / 10)
        one.log({"acc": scores[-1]})
os.environ.update(kept)
wandb.teardown()
with wandb.init(resume="allow") as whole:
    whole.log({"mean_acc": sum(scores) / 3})
"""


@pytest.mark.client
def test_folds_whose_program_resets_the_environment_are_runs_of_the_same_server(
    tmp_path: Path, server: Server
) -> None:
    """As wandb/wandb#5119 has it; none of them counts in the sweep."""
    with Player(server.url, server.key, "folds") as player:
        sweep = player.create_sweep(
            "{program: train.py, method: grid, metric: {name: mean_acc, goal: maximize},"
            " parameters: {batch_size: {values: [16, 32]}}}"
        )
    home = str(tmp_path / "home")  # of a container: W&B's settings lie there
    hand = Hand(tmp_path, Door(url=server.url), FOLDS, HOME=home, HOSTNAME="0123456789ab")
    hand.env["RUNNER_SWEEP"] = f"local/folds/{sweep}"
    (tmp_path / "key").write_text(server.key)

    code, _, said = hand.start().finish(timeout_s=120)

    assert code == 0, said
    import wandb  # here: a second, which unmarked tests do not need

    api = wandb.Api(overrides={"base_url": server.url}, api_key=server.key, timeout=60)
    runs = list(api.runs("local/folds"))
    folds = [one for one in runs if one.config.get("fold") is not None]
    whole = [one for one in runs if one not in folds]
    assert sorted(one.summary["mean_acc"] for one in whole) == pytest.approx([0.35, 0.6])
    assert {one.state for one in runs} == {"finished"}
    assert {one.sweep.id for one in whole} == {sweep}
    assert [one.sweep for one in folds] == [None] * 6
    assert {one.group for one in folds} == {sweep}
    assert {one.job_type for one in folds} == {one.id for one in whole}
    assert len(api.sweep(f"local/folds/{sweep}").runs) == 2  # type: ignore[no-untyped-call]
