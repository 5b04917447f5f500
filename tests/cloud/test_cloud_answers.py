"""What we build on: how W&B answers what it does not have, does not know, or does not want."""

import secrets

from tests.cloud.targets import PROJECT, Target
from tests.runner.server.servers import GRID

SWEEP = "mutation($i: UpsertSweepInput!){upsertSweep(input:$i){sweep{name}}}"
JOIN = "mutation($i: CreateAgentInput!){createAgent(input:$i){agent{id}}}"
RUN = "mutation($i: UpsertBucketInput!){upsertBucket(input:$i){bucket{id}}}"
DELETE = "mutation($i: DeleteRunInput!){deleteRun(input:$i){clientMutationId}}"


def test_a_field_that_only_our_server_has_is_an_error(cloud: Target) -> None:
    for asked in ('sweep(sweepName:"s"){engine}', 'run(name:"r"){attempts}'):
        status, reply = cloud.ask(f'{{project(name:"{PROJECT}"){{{asked}}}}}')

        assert status == 400
        assert "Cannot query field" in reply["errors"][0]["message"]


def test_a_sweep_id_cannot_be_chosen(cloud: Target) -> None:
    chosen = {"name": "mine", "config": GRID, "projectName": PROJECT, "entityName": cloud.entity}

    status, reply = cloud.ask(SWEEP, chosen)

    assert status == 400
    assert reply["errors"]


def test_unknown_sweeps_and_entities_are_404(cloud: Target) -> None:
    nobody, missing = f"nobody-{secrets.token_hex(8)}", secrets.token_hex(4)
    place = {"projectName": PROJECT, "entityName": cloud.entity}
    run = {"modelName": PROJECT, "name": secrets.token_hex(4)}

    agent, _ = cloud.ask(JOIN, {**place, "sweep": missing, "host": "tests"})
    joined, _ = cloud.ask(RUN, {**run, "entityName": cloud.entity, "sweep": missing})
    logged, _ = cloud.ask(RUN, {**run, "entityName": nobody})

    assert (agent, joined, logged) == (404, 404, 404)


def test_the_id_of_a_deleted_run_is_refused(cloud: Target) -> None:
    run = {"modelName": PROJECT, "entityName": cloud.entity, "name": secrets.token_hex(4)}
    _, made = cloud.ask(RUN, run)
    deleted, _ = cloud.ask(DELETE, {"id": made["data"]["upsertBucket"]["bucket"]["id"]})

    again, _ = cloud.ask(RUN, run)

    assert (deleted, again) == (200, 409)
