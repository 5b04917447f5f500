"""Which of an image's interpreters has the project's packages."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.image.interpreters import make_activation, select_interpreter
from runner.image.probe import Probe, check_wandb, probe_image, read_words
from runner.state.find import open_state
from runner.state.folder import State
from tests.rig.engine import TestEngine
from tests.runner.image.layouts import PACKAGES, Shelf, environment, make_shelf

SITE_OF_B = "/opt/conda/envs/b/lib/python3.11/site-packages"


@pytest.fixture(scope="module")
def shelf(engine_env: TestEngine, tiny_image: str) -> Iterator[Shelf]:
    assert tiny_image
    made = make_shelf(engine_env)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def engine(engine_env: TestEngine) -> Iterator[Engine]:
    with Engine.connect(environ={**os.environ, **engine_env.env}) as found:
        yield found


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path, tmp_path, environ={})


def ask(engine: Engine, state: State, tag: str, *imports: str) -> Probe:
    found = engine.images.find(tag)
    assert found is not None
    return probe_image(engine, found.id, state, ours=False, imports=imports)


def conda(root: str, *names: str) -> list[str]:
    """The lines for a base without packages, and environments with them."""
    lines = [environment(root, packages=False, conda=True)]
    return lines + [environment(f"{root}/envs/{name}", conda=True) for name in names]


@pytest.fixture(scope="module")
def crowded(shelf: Shelf) -> str:
    """An image with an environment in each place where tools make them."""
    lines = [
        "FROM @base",
        *conda("/opt/conda", "a", "b"),
        *conda("/root/miniforge3", "t"),
        *conda("/home/agent/mambaforge", "t"),
        *(environment(one) for one in ("/opt/miniconda3", "/mm/envs/x", "/opt/venv", "/e/v")),
        *(environment(one) for one in ("/srv/.venv", "/srv/lab/.venv", "/e/told")),
        f"RUN rm {SITE_OF_B} && mkdir {SITE_OF_B} && touch {SITE_OF_B}/lab.py",
        f"RUN ln -s {PACKAGES}/* {SITE_OF_B}/",
        "ENV MAMBA_ROOT_PREFIX=/mm VIRTUAL_ENV=/e/v",
        "WORKDIR /srv/lab",
    ]
    return shelf.build("crowded", "\n".join(lines))


@pytest.mark.engine
def test_environments_are_found_by_their_folders(
    engine: Engine, state: State, crowded: str
) -> None:
    """The Python on the image's PATH has no packages; the activated environment comes first."""
    probe = ask(engine, state, crowded)

    assert (probe.interpreter, probe.wandb) == ("/e/v/bin/python", "0.31.0")
    assert probe.activation["PATH"].startswith("/e/v/bin:/usr/")
    expected: tuple[str, ...] = (
        "/usr",
        "/opt/conda",
        "/opt/conda/envs/a",
        "/opt/conda/envs/b",
        "/opt/venv",
    )
    expected += ("/root/miniforge3/envs/t", "/home/agent/mambaforge/envs/t", "/opt/miniconda3")
    expected += ("/mm/envs/x", "/srv/.venv", "/srv/lab/.venv")
    for prefix in expected:
        assert {f"{prefix}/bin/python", f"{prefix}/bin/python3"} & {*probe.others}


@pytest.mark.engine
def test_of_several_environments_that_of_the_program_is_taken(
    engine: Engine, state: State, crowded: str
) -> None:
    """All have wandb, one has what the program imports; its commands come first on PATH."""
    probe = ask(engine, state, crowded, "wandb", "lab")

    assert probe.interpreter == "/opt/conda/envs/b/bin/python"
    assert probe.activation["CONDA_PREFIX"] == "/opt/conda/envs/b"
    assert probe.activation["CONDA_DEFAULT_ENV"] == "b"
    image = engine.images.find(crowded)
    assert image is not None
    assert read_words(engine, image.id, state, probe, ["python"])["python"].on_path


@pytest.mark.engine
def test_the_image_may_name_its_interpreter(
    shelf: Shelf, engine: Engine, state: State, crowded: str
) -> None:
    told = shelf.build("told", f"FROM {crowded}\nENV RUNNER_PYTHON=/e/told/bin/python\n")

    probe = ask(engine, state, told, "lab")

    assert (probe.interpreter, probe.others) == ("/e/told/bin/python", ())


@pytest.mark.engine
def test_an_image_without_a_shell_is_asked_by_its_python(
    shelf: Shelf, engine: Engine, state: State
) -> None:
    tag = shelf.build(
        "no-shell",
        "FROM @base AS full\n"
        "RUN rm /bin/sh /bin/busybox\n"
        "FROM scratch\nCOPY --from=full / /\n"
        f'ENV PYTHONPATH={PACKAGES}\nENTRYPOINT ["/usr/bin/python3"]\n',
    )

    probe = ask(engine, state, tag)

    assert (probe.interpreter, probe.wandb) == ("/usr/bin/python3", "0.31.0")
    assert probe.activation == {}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "lines", "message", "hint"),
    [
        ("none", ["RUN rm /usr/bin/python3*"], "has no Python of 3.10 or newer", "/opt, /root"),
        (
            "wrong",
            ["ENV RUNNER_PYTHON=/nowhere/python"],
            r"`RUNNER_PYTHON=/nowhere/python`, which does not start",
            "correct `ENV RUNNER_PYTHON=…`",
        ),
        ("ghost", ["USER ghost"], "does not start: .*unable to find user ghost", "correct `USER`"),
        ("group", ["USER 0:ghosts"], "does not start: .*unable to find group ghosts", "`USER`"),
        (
            "folder",
            ["WORKDIR /x", "RUN cd / && rmdir /x && touch /x"],
            "does not start: ",
            "`WORKDIR`",
        ),
    ],
)
def test_an_image_without_a_fit_python_is_refused(
    shelf: Shelf,
    engine: Engine,
    state: State,
    name: str,
    lines: list[str],
    message: str,
    hint: str,
) -> None:
    tag = shelf.build(name, "\n".join(["FROM @base", *lines]))

    with pytest.raises(RunnerError, match=message) as caught:
        ask(engine, state, tag)

    assert caught.value.code == ExitCode.UNFIT
    assert hint in (caught.value.hint or "")
    assert f"`{tag}:latest`" in caught.value.message
    assert not list(state.cache.rglob("*.json"))


@pytest.mark.engine
def test_an_image_without_wandb_names_the_interpreters_that_were_asked(
    shelf: Shelf, engine: Engine, state: State
) -> None:
    lines = ["FROM @base", environment("/opt/conda", packages=False, conda=True)]
    probe = ask(engine, state, shelf.build("no-wandb", "\n".join(lines)))

    with pytest.raises(RunnerError, match="cannot import wandb") as caught:
        check_wandb(probe, image="mine", ours=False)

    assert "`/usr/bin/python3 -m pip install wandb`" in (caught.value.hint or "")
    assert "`/opt/conda/bin/python`" in (caught.value.hint or "")


def answer(minor: int, wandb: str | None, *modules: str) -> dict[str, object]:
    """The answer of an interpreter, named by its version."""
    return {"python": [3, minor, 1], "wandb": wandb, "modules": list(modules)}


def test_an_old_python_is_never_taken_and_wandb_counts_most() -> None:
    old, bare = answer(9, "0.31.0", "torch"), answer(12, None, "torch", "lab")
    fit, first = answer(11, "0.31.0", "torch"), answer(13, "0.31.0")

    assert select_interpreter([old]) is None
    assert select_interpreter([old, bare]) is bare
    assert select_interpreter([old, bare, first, fit], ["torch", "lab"]) is fit
    assert select_interpreter([bare, first, fit]) is first


def test_an_environment_that_the_image_activates_itself_gets_no_variables() -> None:
    found = {"is_first": True, "interpreter": "/opt/venv/bin/python", "path": "/opt/venv/bin:/bin"}

    assert make_activation(found) == {}
    found |= {"is_first": False, "path": "", "prefix": "/opt/venv", "is_conda": False}
    assert make_activation({**found, "is_venv": True}) == {
        "PATH": "/opt/venv/bin",
        "VIRTUAL_ENV": "/opt/venv",
    }
