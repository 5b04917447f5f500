"""What `runner` asks of W&B and what it makes of the answers, without an engine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.agent.contract.sweeps import SweepPath
from runner.agent.link import Link
from runner.agent.refusals import RefusedError
from runner.backend.certificates import copy_ca_bundle, find_ca_bundle
from runner.backend.choice import ServerChoice
from runner.backend.client import Client
from runner.backend.connection import Connection
from runner.backend.hosts import FORGE, WANDB_AI, find_app_url
from runner.backend.keys import find_key_origin
from runner.backend.nodes import Viewer
from runner.doctor.cloud import look_at_server
from runner.errors import ExitCode, RunnerError
from runner.sweeps.place import SweepDefaults, check_may_write, default_entity
from tests.rig.cloud import Cloud, client_environment, start_cloud
from tests.rig.listener import listening
from tests.rig.warm import WarmRunner

ROOT = Path(__file__).parents[3]
SWEEP = "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2]}}\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The strict server; it refuses fields that W&B does not have."""
    folder = tmp_path_factory.mktemp("cloud")
    with start_cloud(folder, lag_s=0.0, limit_every=0) as started:
        yield started


def write_project(folder: Path) -> Path:
    """A folder with a sweep file and a state of its own."""
    (folder / ".runner").mkdir(parents=True)
    (folder / ".runner" / "fleet").write_text('{"format": 1, "name": "test-names"}')
    (folder / "sweep.yaml").write_text(f"project: vision\n{SWEEP}")
    return folder


def connect(cloud: Cloud, *, key: str | None = None) -> Client:
    return Client(cloud.url, key or cloud.key, kind="wandb", ca_bundle=cloud.ca_file)


def test_only_fields_that_w_and_b_has_are_asked_for(cloud: Cloud) -> None:
    client = connect(cloud)

    made = client.create_sweep(yaml.safe_load(SWEEP), entity="acme", project="p")
    found = client.find_sweep(SweepPath("acme", "p", made.id))

    assert found is not None
    assert (found.path, found.engine) == (made.path, None)
    assert list(client.runs(found)) == []
    assert made.id in {sweep.id for sweep in client.sweeps("acme", "p")}
    assert client.viewer() == Viewer("acme", "acme", ("acme-vision",))


def test_a_metric_is_found_where_it_was_logged_as_a_dictionary(cloud: Cloud) -> None:
    client = connect(cloud)
    config = yaml.safe_load(SWEEP.replace("name: loss", "name: val.loss"))
    made = client.create_sweep(config, entity="acme", project="nested")
    for name, summary in {
        "deep": {"val": {"loss": 2.0}},
        "flat": {"val.loss": 1.0},
        "least": {"val": {"loss": {"min": 0.5}}},
        "none": {"val": 3},
    }.items():
        given = {"modelName": "nested", "name": name, "sweep": made.id}
        query = "mutation($i: X){upsertBucket(input:$i){inserted}}"
        given["summaryMetrics"] = json.dumps(summary)
        assert cloud.request("/graphql", {"query": query, "variables": {"i": given}})[0] == 200

    assert {run.id: run.best for run in client.runs(made)} == {
        "deep": 2.0,
        "flat": 1.0,
        "least": 0.5,
        "none": None,
    }


def test_what_is_not_there_is_none_and_what_is_deleted_is_gone(cloud: Cloud) -> None:
    client = connect(cloud)
    made = client.create_sweep(yaml.safe_load(SWEEP), entity="acme", project="p")
    cloud.delete_sweep(str(made.path))

    assert client.find_sweep(SweepPath("acme", "p", "nothere")) is None
    assert client.find_sweep(SweepPath("nobody", "p", "nothere")) is None
    with pytest.raises(RunnerError, match="is gone from") as caught:
        list(client.runs(made))
    assert caught.value.code == ExitCode.NOT_FOUND


def test_a_key_writes_to_its_own_entity_and_its_teams(cloud: Cloud) -> None:
    client = connect(cloud)
    server = Connection(cloud.url, client, cloud.url, cloud.key, None)

    assert default_entity(server) == "acme"
    check_may_write(server, "acme")
    check_may_write(server, "acme-vision")
    with pytest.raises(RunnerError, match="may not write to entity `stranger`") as caught:
        check_may_write(server, "stranger")
    assert caught.value.code == ExitCode.AUTH
    with pytest.raises(RunnerError, match="refused the API key") as caught:
        connect(cloud, key="w" * 40).viewer()
    assert caught.value.code == ExitCode.AUTH


def test_an_authority_that_nobody_named_is_not_trusted(cloud: Cloud) -> None:
    with pytest.raises(RunnerError) as caught:
        Client(cloud.url, cloud.key, kind="wandb").viewer()

    assert "SSL_CERT_FILE" in str(caught.value.hint)


@pytest.mark.slow
def test_a_rate_limit_is_waited_out_and_said_once(tmp_path: Path) -> None:
    lines: list[str] = []
    with start_cloud(tmp_path, tls=False, limit_every=2, lag_s=0.0) as cloud:
        client = Client(cloud.url, cloud.key, kind="wandb", report=lines.append)
        for _ in range(3):
            client.viewer()

    assert lines == [f"{cloud.url} answers 429: trying again for a while"]


@pytest.mark.slow
def test_commands_find_key_entity_and_project(
    warm: WarmRunner, cloud: Cloud, tmp_path: Path
) -> None:
    """The key only in `~/.netrc`, the entity the viewer's, the W&B project the sweep file's."""
    cloud.write_netrc(tmp_path)
    project = write_project(tmp_path / "plain")
    sweep = cloud.make_sweep(SWEEP, project="vision")
    done = warm.run(
        *("sweep", "show", sweep.rpartition("/")[2]),
        cwd=project,
        env=cloud.environment(tmp_path, key=False),
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == (
        f"server: {cloud.url} (WANDB_BASE_URL), key from ~/.netrc, entity the key's own, "
        "W&B project `vision` (the sweep file)"
    )
    assert done.stdout.startswith(f"{sweep}  running\n")
    assert not (project / ".runner/sweeps").exists()  # `up` joins it, a look does not


def test_names_say_where_they_come_from() -> None:
    bare = SweepDefaults(None, None, "folder")
    full = SweepDefaults("acme", "p", "folder", "WANDB_ENTITY", "WANDB_PROJECT", lambda: "filed")

    assert bare.likely_projects() == ["folder", "uncategorized"]
    assert bare.describe() == "entity the key's own, W&B project `folder` (the folder's name)"
    assert full.likely_projects() == ["p"]
    assert full.describe() == "entity `acme` (WANDB_ENTITY), W&B project `p` (WANDB_PROJECT)"


def test_a_key_tells_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine wandb.example:8080 login user password secret\n")

    def find(url: str) -> tuple[str, str] | None:
        return find_key_origin(url, environ={}, home=tmp_path, state=None, folder=tmp_path)

    assert find("https://wandb.example:8080") == ("secret", "~/.netrc")
    assert find("https://wandb.example") is None


def test_doctor_tries_the_key(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose it is, or that it is refused; the caller's certificates count."""
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"REQUESTS_CA_BUNDLE": str(cloud.ca_file)}

    def look() -> list[tuple[str, str, str]]:
        found = look_at_server(ServerChoice(cloud.url, "here"), environ, None)
        return [(one.check, one.status, one.detail) for one in found]

    none = look()
    netrc = cloud.write_netrc(tmp_path)
    good = look()
    netrc.write_text(netrc.read_text().replace(cloud.key, "w" * 40))
    bad = look()

    assert none[0] == ("W&B key", "fail", f"none for {cloud.url} (here)")
    assert [one[:2] for one in good] == [("W&B", "ok"), ("clock", "ok"), ("W&B key", "ok")]
    assert good[2][2] == "of acme, from ~/.netrc"
    assert bad[2][:2] == ("W&B key", "fail")
    assert "refused the API key" in bad[2][2]


def test_a_page_is_shown_where_people_see_it() -> None:
    assert find_app_url(WANDB_AI) == "https://wandb.ai"
    assert find_app_url(FORGE) == "https://forge.coreweave.com"
    assert find_app_url("https://api.wandb.example") == "https://api.wandb.example"


def test_the_callers_authorities_are_found_and_copied(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificate")

    found = find_ca_bundle({"REQUESTS_CA_BUNDLE": str(bundle)})

    assert found == bundle.resolve()
    copy = copy_ca_bundle(bundle, tmp_path / "cache")
    assert (copy.read_text(), copy.stat().st_mode & 0o777) == ("certificate", 0o644)
    assert copy_ca_bundle(bundle, tmp_path / "cache") == copy
    assert find_ca_bundle({}) is None
    with pytest.raises(RunnerError, match="`SSL_CERT_FILE` names"):
        find_ca_bundle({"SSL_CERT_FILE": os.fspath(tmp_path / "missing")})


@pytest.mark.slow
def test_a_key_is_sent_to_no_host_that_it_is_not_for(
    warm: WarmRunner, cloud: Cloud, tmp_path: Path
) -> None:
    """Neither to a server without a key of its own, nor to where a server sends us on."""
    cloud.write_netrc(tmp_path)
    with listening() as (other, heard), listening(other) as (sender, first):
        done = warm.run(
            *("sweep", "create", "sweep.yaml"),
            cwd=write_project(tmp_path / "plain"),
            env={**cloud.environment(tmp_path, key=False), "WANDB_BASE_URL": other},
        )
        with pytest.raises(RunnerError, match="answered 307"):
            Client(sender, cloud.key, kind="wandb").viewer()
        with pytest.raises(RefusedError, match="HTTP 307"):
            Link(sender, cloud.key, max_pause_s=1.0).ask("query{viewer{id}}", dict)

    assert done.returncode == 4, done.stderr
    assert f"error: no key for {other}" in done.stderr
    assert (len(first), heard) == (2, [])


@pytest.mark.client
def test_w_and_bs_client_follows_a_redirect_without_the_key(tmp_path: Path) -> None:
    """What our runs and the sync rely on: the other host is asked, and hears no credentials."""
    with listening(host="127.0.0.2") as (other, heard), listening(other) as (sender, first):
        subprocess.run(
            [sys.executable, "-c", "import wandb; wandb.Api(timeout=5).viewer"],
            env={**client_environment(sender, "k" * 40, tmp_path), "NO_PROXY": "*"},
            capture_output=True,
            check=False,
        )

    assert first
    assert None not in first
    assert set(heard) == {None}
