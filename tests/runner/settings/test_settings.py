"""Flag > environment > file > default, and what is refused."""

from pathlib import Path

import pytest

from docs.generate import read_commands, read_options
from runner.errors import ExitCode, RunnerError
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.settings.model import Settings


def load(
    root: Path,
    text: str = "",
    *,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Settings:
    (root / "runner.toml").write_text(text)
    return load_settings(find_project(root), environ=environ or {}, flags=flags)


def test_a_flag_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    text = '[run]\nshm_size = "1g"\ncpus = 2\ngrace_s = 10\n'

    settings = load(
        tmp_path,
        text,
        environ={"RUNNER_RUN_SHM_SIZE": "2g", "RUNNER_RUN_CPUS": "3"},
        flags={"run.shm_size": "3GiB", "run.memory": None},
    )

    assert settings.run.shm_size == 3 * 1024**3
    assert settings.run.cpus == 3.0
    assert settings.run.grace_s == 10
    assert settings.run.memory is None
    assert settings.origins == {
        "run.shm_size": "flag",
        "run.cpus": "RUNNER_RUN_CPUS",
        "run.grace_s": "runner.toml",
    }


def test_lists_and_tables_of_flags_add_to_the_file(tmp_path: Path) -> None:
    text = '[run]\nmounts = ["./a:/a"]\nenv = { A = "1", N = 4 }\n'

    settings = load(tmp_path, text, flags={"run.mounts": ["./b:/b"], "run.env": ["A=2", "B=x,y"]})

    assert list(map(str, settings.run.mounts)) == ["./a:/a", "./b:/b"]
    assert settings.run.env == {"A": "2", "N": "4", "B": "x,y"}
    assert settings.origins["run.env"] == "runner.toml, flag"


def test_pyproject_holds_the_same_keys(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.runner]\nserver = "local"\n')

    settings = load_settings(find_project(tmp_path), environ={})

    assert settings.server == "local"
    assert settings.origins["server"] == "pyproject.toml [tool.runner]"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[run]\nshm_sise = '1g'",
            "unknown setting `run.shm_sise` in `runner.toml`",
            "run.shm_size",
        ),
        ("shm_size = '1g'", "unknown setting `shm_size`", "run.shm_size"),
        ("[images]\n", "unknown setting `images`", "image"),
        ("[run]\ngrace_s = '30'", '`run.grace_s` must be a whole number, 0 or more, not "30"', ""),
        ("[run]\nshm_size = '1 potato'", "`run.shm_size` must be a size", ""),
        ("[image]\nextras = 'train'", "`image.extras` must be a list of strings", ""),
        ("[run]\nlive = 'true'", '`run.live` must be true or false, not "true"', ""),
        ("run = 3", "`run` must be a table, not 3", ""),
        ("access = 'magic'", '`access` must be one of "cdi", "runtime", "gpus"', ""),
        ("[image]\nname = 'a'\ndockerfile = 'b'", "exclude each other", ""),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(RunnerError) as caught:
        load(tmp_path, text)

    assert message in caught.value.message
    assert "runner.toml" in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), (" 30 M ", 1800), ("2d", 172_800), ("1", 1)],
)
def test_a_time_has_a_unit_or_is_in_seconds(tmp_path: Path, text: str, seconds: float) -> None:
    assert load(tmp_path, flags={"run.timeout": text}).run.timeout == seconds
    assert load(tmp_path, f'[run]\nidle_timeout = "{text}"').run.idle_timeout == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "0", "-5", "0.5s", "1h30m", "nan", "inf", "1e9", "400d", "5 parsecs"]
)
@pytest.mark.parametrize("key", ["run.timeout", "run.idle_timeout"])
def test_what_is_no_time_is_refused(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(RunnerError, match=f"`{key}` must be a time like") as caught:
        load(tmp_path, flags={key: text})

    assert caught.value.code == ExitCode.USAGE


def test_a_misspelt_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="RUNNER_RUN_SHMSIZE") as caught:
        load(tmp_path, environ={"RUNNER_RUN_SHMSIZE": "1g"})

    assert caught.value.hint == "did you mean `RUNNER_RUN_SHM_SIZE`?"


def test_variables_of_the_agent_are_none_of_ours(tmp_path: Path) -> None:
    environ = {"RUNNER_SWEEP": "e/p/id", "RUNNER_HOME": "/x", "RUNNER_GRACE_S": "30"}
    environ |= {"RUNNER_TIMEOUT_S": "5", "RUNNER_IDLE_TIMEOUT_S": "5"}

    assert load(tmp_path, environ=environ).origins == {}


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [
        ("run.timeout", "banana", "--run-timeout"),
        ("run.idle_timeout", "0", "--idle-timeout"),
        ("run.env", ["A"], "--env"),
        ("run.shm_size", "1x", "--shm-size"),
        ("run.memory", "1x", "--memory"),
        ("run.cpus", "x", "--cpus"),
        ("access", "x", "--access"),
        ("pin", "x", "--pin"),
    ],
)
def test_a_wrong_value_is_named_by_the_flag_that_gave_it(
    tmp_path: Path, key: str, value: object, flag: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        load_settings(find_project(tmp_path), environ={}, flags={key: value})

    assert caught.value.message.startswith(f"{flag}: ")
    assert flag in {
        name for one in read_commands() if one.path == "up" for name in read_options(one)
    }
