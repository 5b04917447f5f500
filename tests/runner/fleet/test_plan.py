"""Plans, by how they print: what `up` and `stop` would do, and why."""

from dataclasses import replace
from typing import Any

import pytest

from runner.agent.contract.slots import parse_slot
from runner.agent.contract.status import AgentState, LiveRun, SeenSlot, Status
from runner.agent.contract.sweeps import SweepPath
from runner.fleet.agents import Agent
from runner.fleet.holders import mark_held
from runner.fleet.plan import Wanted, hash_settings, plan_command, plan_fleet, plan_stop
from runner.fleet.selection import Slot
from runner.gpus.gpu import Gpu
from runner.usecases.up.waiting import find_busy

UUIDS = [f"GPU-{letter * 8}-0000-4000-8000-00000000000{i}" for i, letter in enumerate("abcd")]
SLOTS = [Slot(i, parse_slot(uuid), "H100") for i, uuid in enumerate(UUIDS)]
WANTED = Wanted("demo", SweepPath("me", "hands", "s1"), "sha256:1", "f00d")

STATUS = Status("a-0", "c" * 12, 7, "me/hands/s1", SeenSlot(UUIDS[0]))


def agent(index: int, **changes: Any) -> Agent:
    """An agent of this fleet on one GPU, as wanted unless told otherwise."""
    one = Agent(
        name=SLOTS[index].agent_name("demo"),
        container=f"{index}" * 64,
        fleet="demo",
        slot=SLOTS[index].id,
        engine_state="running",
        exit_code=None,
        sweep=WANTED.sweep,
        image=WANTED.image,
        settings_hash=WANTED.settings_hash,
    )
    return replace(one, **changes)


def plan(
    *agents: Agent, slots: list[Slot] = SLOTS[:1], wanted: Wanted = WANTED, **flags: bool
) -> list[str]:
    """The plan without names and UUIDs."""
    actions = plan_fleet(slots, agents, wanted, **flags)
    assert [action.uuid for action in actions] == [slot.uuid for slot in slots]
    return [f"{action.do}: {action.cause}" for action in actions]


def ended(code: int, state: AgentState, reason: str = "", **counts: Any) -> dict[str, Any]:
    """What an agent that is no more shows."""
    status = replace(STATUS, state=state, reason=reason or None, **counts)
    return {"engine_state": "exited", "exit_code": code, "status": status}


def test_an_action_prints_what_where_and_why() -> None:
    """The line that `--dry-run` shows."""
    assert [str(action) for action in plan_fleet(SLOTS[:1], [], WANTED)] == [
        f"start aaaaaaaa0000-0 on {UUIDS[0]}: no agent"
    ]


def test_what_to_wait_for_is_named_and_a_lost_gpu_is_not_waited_for() -> None:
    """One's own agents are no reason to wait."""
    mine, theirs = agent(0), agent(1, fleet="other")
    foreign = replace(SLOTS[2], state="foreign", reason="pid 7 of ann holds 9.0 GiB")
    lost = replace(SLOTS[3], state="lost", reason="GPU is lost")
    slots = [*SLOTS[:2], foreign]

    assert find_busy(slots, [mine, theirs], "demo", force=False) == [
        f"{UUIDS[1]}: an agent of fleet `other` has it",
        f"{UUIDS[2]}: in use: pid 7 of ann holds 9.0 GiB",
    ]
    assert len(find_busy(slots, [mine, theirs], "demo", force=True)) == 1
    assert find_busy([*slots, lost], [mine, theirs], "demo", force=False) == []


def test_each_gpu_gets_one_agent() -> None:
    """Four empty GPUs, four starts."""
    assert plan(slots=SLOTS) == ["start: no agent"] * 4


def test_doing_it_twice_changes_nothing() -> None:
    """Whatever is alive and as wanted is kept: running, on its way back, or paused."""
    states = ["running", "restarting", "paused"]
    agents = [agent(i, engine_state=state) for i, state in enumerate(states)]

    assert plan(*agents, slots=SLOTS[:3]) == ["keep: runs as wanted"] * 3


def test_what_a_killed_command_left_half_made_is_replaced() -> None:
    """Only one `up` of a fleet acts at a time, so a `created` container is nobody's."""
    assert plan(agent(0, engine_state="created")) == [
        "replace: was never started: the `up` that made it was killed"
    ]


def test_gpus_that_are_not_named_are_left_alone() -> None:
    """An agent on GPU 1, of whatever sweep, appears in no plan for GPU 0."""
    assert plan(agent(1, sweep="me/hands/other")) == ["start: no agent"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"sweep": "me/hands/s0"}, "sweep changed: `me/hands/s0` → `me/hands/s1`"),
        ({"image": "sha256:0"}, "image changed"),
        ({"settings_hash": "beef"}, "settings changed"),
    ],
)
def test_what_differs_is_replaced_with_its_cause(change: dict[str, object], cause: str) -> None:
    """Sweep, image and settings, in this order."""
    assert plan(agent(0, **change)) == [f"replace: {cause}"]


def test_the_agent_of_another_fleet_is_never_touched() -> None:
    """Alive it refuses the GPU; exited it only left its name."""
    other = agent(0, fleet="theirs", sweep="you/x/y")

    assert plan(other) == ["refuse: an agent of fleet `theirs` has it"]
    assert plan(replace(other, engine_state="exited", exit_code=0)) == ["start: no agent"]


@pytest.mark.parametrize(
    ("slot", "cause"),
    [
        (replace(SLOTS[0], state="lost", reason="GPU is lost"), "GPU 0 is lost: GPU is lost"),
        (
            replace(SLOTS[0], state="agent", reason="pid 7 of eve holds its lease"),
            "another agent has it: pid 7 of eve holds its lease",
        ),
        (
            replace(SLOTS[0], state="foreign", reason="pid 8 of eve holds 38.0 GiB"),
            "in use: pid 8 of eve holds 38.0 GiB; `--force` starts beside it",
        ),
    ],
)
def test_a_gpu_that_cannot_be_had_is_refused_with_its_cause(slot: Slot, cause: str) -> None:
    """Lost, leased, or in use by a stranger."""
    assert plan(slots=[slot]) == [f"refuse: {cause}"]


def test_force_starts_beside_a_stranger_but_not_beside_an_agent() -> None:
    """`--force` overrides memory in use, never a lease."""
    foreign, leased = (
        replace(SLOTS[0], state="foreign", reason="x"),
        replace(SLOTS[1], state="agent", reason="y"),
    )

    assert plan(slots=[foreign, leased], force=True) == [
        "start: no agent",
        "refuse: another agent has it: y",
    ]


def test_an_agent_that_reached_its_count_is_kept_unless_again() -> None:
    """And started anew where the count is another one, since that changes the settings."""
    done, wanted = (
        agent(0, **ended(0, "finished", runs_finished=2, runs_failed=1)),
        replace(WANTED, count=3),
    )

    assert plan(done, wanted=wanted) == ["keep: reached its count of 3; `--again` starts it again"]
    assert plan(done, wanted=wanted, again=True) == ["start: the last one ended; was finished"]
    assert plan(done, wanted=replace(wanted, count=5, settings_hash="beef")) == [
        "start: settings changed; was finished"
    ]


def test_an_agent_that_ended_otherwise_is_started_with_its_reason() -> None:
    """Stopped, refused at the start, or quarantined."""
    assert plan(agent(0, **ended(143, "stopped"))) == ["start: the last one ended; was stopped"]
    assert plan(agent(0, **ended(69, "failed", "lease held"))) == [
        "start: the last one ended; was failed (exit 69): lease held"
    ]
    assert plan(agent(0, **ended(0, "quarantined", "Xid 79"))) == [
        "start: the last one ended; was quarantined: Xid 79"
    ]


def test_a_finished_sweep_starts_nothing() -> None:
    """Neither on an empty GPU nor in place of another agent."""
    wanted = replace(WANTED, sweep_finished=True)

    assert (
        plan(agent(1), slots=SLOTS[:2], wanted=wanted)
        == ["keep: the sweep is finished: nothing to start"] * 2
    )


def test_a_renamed_container_holds_no_slot() -> None:
    """What an earlier `up` put aside is neither kept nor renamed again."""
    old = agent(0, engine_state="exited", exit_code=143)
    aside = replace(old, name=f"{old.name}-{old.container[:12]}")

    actions = plan_fleet(SLOTS[:1], [aside], WANTED)

    assert [(action.do, action.old) for action in actions] == [("start", None)]


def test_stop_ends_what_is_alive_and_keeps_the_rest() -> None:
    """Each with its cause."""
    busy = agent(0, status=replace(STATUS, run=LiveRun("r1", "running", 1.0)))
    actions = plan_stop([busy, agent(1), agent(2, **ended(143, "stopped"))])

    assert [f"{action.do}: {action.cause}" for action in actions] == [
        "stop: run r1 saves and ends",
        "stop: no run is under way",
        "keep: has ended already: stopped",
    ]


def test_settings_hash_changes_with_any_value() -> None:
    """And not with the order of the keys."""
    assert hash_settings({"a": 1, "b": [2]}) == hash_settings({"b": [2], "a": 1})
    assert hash_settings({"a": 1}) != hash_settings({"a": 2})


def test_a_command_keeps_its_gpus_from_agents_of_its_own_fleet_too() -> None:
    """A placeholder is not replaced as an agent of this fleet would be, but gone once it is."""
    kept = agent(0, keeps_for="demo-lab", sweep=None)

    assert plan(kept) == ["refuse: `demo-lab` has it: `runner stop demo-lab` ends it"]
    assert plan(replace(kept, engine_state="exited")) == ["start: no agent"]
    assert plan(replace(kept, engine_state="created")) == [
        "replace: was never started: the `up` that made it was killed"
    ]
    assert find_busy(SLOTS[:1], [kept], "demo", force=False) == [
        f"{UUIDS[0]}: `demo-lab` has it: `runner stop demo-lab` ends it"
    ]


def test_a_command_starts_on_all_gpus_or_is_refused() -> None:
    foreign = replace(SLOTS[1], state="foreign", reason="pid 7 of ann holds 9.0 GiB")
    slots = [SLOTS[0], foreign]

    assert [f"{one.do}: {one.cause}" for one in plan_command(slots, "demo-run")] == [
        "start: free",
        "refuse: in use: pid 7 of ann holds 9.0 GiB; `--force` starts beside it",
    ]
    assert {one.do for one in plan_command(slots, "demo-run", force=True)} == {"start"}


def test_all_gpus_of_a_command_are_its_own() -> None:
    """`gpus` names the command, not its placeholders."""
    one, two = SLOTS[0].id, SLOTS[1].id
    command = agent(0, name="demo-lab", command="sleep 9", sweep=None, more_slots=(two,))
    kept = [agent(index, keeps_for="demo-lab", command=None) for index in (0, 1)]
    gpus = [Gpu(index, UUIDS[index], "H100", "580.1") for index in range(3)]

    marked = mark_held(gpus, [*kept, command], foreign_mib=500)

    assert command.slots == (one, two)
    assert [(gpu.state, gpu.agent) for gpu in marked] == [
        *[("agent", "demo-lab")] * 2,
        ("free", None),
    ]
    assert [str(action) for action in plan_stop([command])] == [
        f"stop demo-lab on {UUIDS[0]},{UUIDS[1]}: the command gets SIGTERM"
    ]
