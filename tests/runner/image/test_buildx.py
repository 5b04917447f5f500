"""What buildx is asked for, and what is told of its progress."""

from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.buildx import Build, BuildProgress, run_build

LOG = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 DONE 0.1s

#8 [agent 3/6] RUN --mount=type=secret,id=ca --mount=type=cache,target=/c : 'torch' && uv pip
#8 0.412 Resolved 9 packages
#8 DONE 61.0s

#9 [agent 5/6] WORKDIR /opt/project
#9 CACHED

#10 [agent 6/6] RUN false
#10 0.101 the reason
#10 ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1
------
 > [agent 6/6] RUN false:
ERROR: failed to solve
"""


def read(log: str) -> tuple[BuildProgress, list[str]]:
    said: list[str] = []
    progress = BuildProgress(said.append)
    for line in filter(None, log.splitlines()):
        progress.read(line)
    return progress, said


def test_finished_steps_are_told_by_name_and_cached_ones_counted() -> None:
    progress, said = read(LOG)

    assert said == ["  [agent 3/6] torch: 1 min 01 s"]
    assert progress.cached == 1


def test_the_failed_steps_own_lines_are_kept() -> None:
    progress, _ = read(LOG)

    assert progress.names[progress.failed or ""] == "[agent 6/6] RUN false"
    assert progress.tail()[0] == "the reason"


def test_the_engines_reason_stands_below_what_the_step_had_said() -> None:
    progress, _ = read(
        "#8 [context wheels] load from client\n"
        "#8 transferring wheels: 100.32MB 0.8s done\n"
        "#8 ERROR: write /var/lib/docker/x/a.whl: no space left on device\n"
        "#9 [staged-deps 1/1] COPY deps/ /\n"
        "#9 ERROR: failed to prepare: another\n"
    )

    assert progress.tail() == [
        "transferring wheels: 100.32MB 0.8s done",
        "ERROR: write /var/lib/docker/x/a.whl: no space left on device",
    ]


def test_what_our_own_script_says_is_the_error(tmp_path: Path) -> None:
    """It ends with 6 where this machine cannot build, as every command does."""
    docker = tmp_path / "docker"
    log = LOG.replace("the reason", "error: no torch\n#10 0.102 hint: let it in")
    shown = {6: log.replace("exit code: 1", "exit code: 6"), 1: log}
    said: list[str] = []
    for code, text in shown.items():
        docker.write_text(f"#!/bin/sh\n[ $2 = version ] || {{ cat <<'E'\n{text}E\nexit 1; }}\n")
        docker.chmod(0o755)
        build = Build(Path("Dockerfile"), tmp_path, ("a:1",))
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

        with pytest.raises(RunnerError) as caught:
            run_build(build, environ=path, report=said.append)

        ours = ("no torch", "let it in", ExitCode.UNFIT)
        told = (caught.value.message, caught.value.hint, caught.value.code)
        assert (told == ours) == (code == 6)
    assert "  | error: no torch" in said
    assert "`[agent 6/6] RUN false` failed with exit code 1; its last lines:" in said


def test_only_the_last_lines_are_shown_and_the_reason_is_read_from_all() -> None:
    noise = "".join(f"#10 0.2 line {number}\n" for number in range(100))
    first = "#10 0.101 error: Failed to build `kit==1`\n"
    progress, _ = read(LOG.replace("#10 0.101 the reason\n", first + noise))

    assert len(progress.tail()) == 20
    assert progress.log()[0] == "error: Failed to build `kit==1`"


def test_notes_of_the_first_step_are_passed_on_and_a_compilers_are_not() -> None:
    said: list[str] = []
    progress = BuildProgress(said.append)
    progress.read("#8 [resolved 1/1] RUN : 'versions' && uv pip")
    progress.read("#8 0.412 note: `kit` has no wheel")
    progress.read("#9 [agent 4/6] RUN : 'dependencies' && uv pip")
    progress.read("#9 0.412 note: in expansion of macro")

    assert said == ["note: `kit` has no wheel"]


def test_a_long_step_is_told_while_it_runs() -> None:
    said: list[str] = []
    now = 0.0
    progress = BuildProgress(said.append, clock=lambda: now)
    progress.read("#8 [agent 3/6] RUN --mount=type=secret,id=ca : 'torch' && uv pip")
    now = 45.0
    progress.beat()
    progress.read("#8 DONE 50.0s")
    progress.beat()

    assert said == ["  [agent 3/6] torch: 45.0 s so far", "  [agent 3/6] torch: 50.0 s"]


def test_secrets_go_by_file_and_never_by_value(tmp_path: Path) -> None:
    build = Build(
        Path("Dockerfile"),
        Path("CONTEXT"),
        ("a:1", "b"),
        target="agent",
        args={"BASE": "debian"},
        contexts={"wheels": tmp_path},
        secrets={"uv": Path("SECRETS/uv")},
        labels={"dev.runner.kind": "agent"},
    )

    text = build.as_text()

    assert "--secret id=uv,src=SECRETS/uv" in text
    assert f"--build-context wheels={tmp_path}" in text
    assert text.startswith("docker buildx build \\\n    --file Dockerfile")
    assert text.splitlines()[-1].strip() == "CONTEXT"


def test_a_missing_buildx_is_one_line_with_a_hint(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    build = Build(Path("Dockerfile"), tmp_path, ("a",))

    with pytest.raises(RunnerError, match="buildx plugin is missing") as caught:
        run_build(build, environ={"PATH": f"{tmp_path}:/usr/bin:/bin"}, report=print)

    assert caught.value.code == ExitCode.UNFIT
