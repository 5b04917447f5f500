"""Images built, found and asked, on a real engine."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.agent.contract import labels
from runner.engine.client import Engine
from runner.engine.types import Image
from runner.errors import ExitCode, RunnerError
from runner.image.build import build_image, project_changed
from runner.image.built import AgentImage, find_image, find_kind
from runner.image.probe import check_wandb, probe_image, read_words
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.state.find import open_state
from tests.rig.command import start_runner
from tests.rig.engine import TINY, TestEngine
from tests.runner.image.wheel import make_wheel

PROGRAM = "import wandb\nprint(wandb.__version__)\n"
SECRET = "pa55word.example"


class Workplace:
    """A project folder and the calls that the commands make for it."""

    def __init__(self, root: Path, engine: Engine) -> None:
        self.root, self.engine = root, engine
        self.said: list[str] = []
        self.state = open_state(root, root, environ={})

    def build(self, *, cpu: bool) -> AgentImage:
        project = find_project(self.root)
        settings = load_settings(project, environ={})
        return build_image(
            self.engine, project, settings, self.state, cpu=cpu, report=self.said.append
        )

    def find(self, override: str | None = None) -> AgentImage:
        project = find_project(self.root)
        settings = load_settings(project, environ={})
        return find_image(self.engine, project, settings, self.state, override=override)

    def changed(self) -> bool:
        project = find_project(self.root)
        return project_changed(project, load_settings(project, environ={}), self.state)


@pytest.fixture(scope="module")
def engine(engine_env: TestEngine) -> Iterator[Engine]:
    with Engine.connect(environ={**os.environ, **engine_env.env}) as found:
        yield found


@pytest.fixture
def place(
    tmp_path: Path, engine: Engine, engine_env: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workplace]:
    for name, value in engine_env.env.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / f"image-test-{os.getpid()}"
    root.mkdir()
    (root / "train.py").write_text(PROGRAM)
    (root / "requirements.txt").write_text("wandb==0.31.0\n")
    yield Workplace(root, engine)
    tags = engine_env.docker("images", "-q", f"runner-{root.name}").split()
    if tags:
        engine_env.docker("rmi", "-f", *tags)


def run_in(engine_env: TestEngine, image: AgentImage, *words: str, user: str = "4242") -> str:
    """A command in the image as agents run: another user, a root that cannot be written."""
    options = ("--rm", "--user", user, "--read-only", "--tmpfs", "/tmp", "--network", "none")
    return engine_env.docker("run", *options, "--tmpfs", "/home/runner", image.id, *words)


@pytest.mark.engine
def test_a_plain_project_is_built_once_and_runs_as_anybody(
    place: Workplace, engine_env: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_TRUSTED_HOST", SECRET)
    with pytest.raises(RunnerError, match="is not built") as caught:
        place.find()
    assert caught.value.code == ExitCode.NOT_FOUND

    first = place.build(cpu=True)
    again = place.build(cpu=True)

    assert (first.built, again.built) == (True, False)
    assert first.id == again.id == place.find().id
    assert first.tag == f"runner-{place.root.name}:{first.labels[labels.PROJECT_HASH][:12]}"
    assert not place.changed()
    assert run_in(engine_env, first, "python", "/opt/project/train.py").strip() == "0.31.0"
    left = run_in(engine_env, first, "find", "/opt/venv", "-name", "wandb_run*.pyc")
    assert left.strip(), "bytecode is compiled at build time: a read-only root never can"

    probe = probe_image(place.engine, first.id, place.state, ours=True)
    assert (probe.wandb, probe.interpreter) == ("0.31.0", "/opt/venv/bin/python")
    assert probe.has_program("./train.py")
    asked = ["train.py", "gone.py", "python", "nothing-like-it", "wandb", "gone"]
    words = read_words(place.engine, first.id, place.state, probe, asked)
    assert (words["train.py"].kind, words["gone.py"].kind) == ("file", None)
    assert (words["python"].on_path, words["nothing-like-it"].on_path) == (True, False)
    assert (words["wandb"].module, words["gone"].module) == (True, False)

    history = engine_env.docker("history", "--no-trunc", first.id)
    assert SECRET not in history + engine_env.docker("inspect", first.id)
    assert list(place.state.cache.glob("*runner-tmp-*")) == []


@pytest.mark.engine
def test_an_edit_is_noticed_and_the_commit_recorded(place: Workplace) -> None:
    git = ["git", "-C", str(place.root), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    place.build(cpu=True)

    (place.root / "train.py").write_text(PROGRAM + "# edited\n")

    assert place.changed()
    edited = place.build(cpu=True)
    assert edited.built
    assert edited.labels["dev.runner.project.dirty"] == "true"
    assert len(edited.labels[labels.PROJECT_COMMIT]) == 40


@pytest.mark.engine
def test_a_project_with_a_build_system_is_installed(
    place: Workplace, engine_env: TestEngine
) -> None:
    (place.root / "requirements.txt").unlink()
    (place.root / "helpers").mkdir()
    (place.root / "helpers" / "__init__.py").write_text("ANSWER = 42\n")
    (place.root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "helpers"\nversion = "1"\n'
    )

    image = place.build(cpu=True)

    words = ("sh", "-c", "cd / && python -c 'import helpers; print(helpers.ANSWER)'")
    assert run_in(engine_env, image, *words).strip() == "42"


@pytest.mark.engine
def test_wheels_for_cpus_stay_out_of_an_image_with_cuda(
    place: Workplace, engine_env: TestEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To an installer the `+cpu` build of a version is the later one."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "1.0")
    make_wheel(wheels, "1.0+cpu")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    (place.root / "requirements.txt").write_text("own\n")
    found = {}

    for variant in ("cpu", "cuda"):
        project = find_project(place.root)
        image = build_image(
            place.engine,
            project,
            load_settings(project, environ={}),
            place.state,
            cpu=variant == "cpu",
            cuda=13 if variant == "cuda" else None,
            base="debian:bookworm-slim",
            report=place.said.append,
        )
        found[variant] = run_in(
            engine_env, image, "python", "-c", "import own; print(own.VERSION)"
        ).strip()

    assert found == {"cpu": "1.0+cpu", "cuda": "1.0"}


AGENT = {"dev.runner.kind": "agent", "dev.runner.project.hash": "f00d"}
OWN_ENV = {"VIRTUAL_ENV": "/opt/venv"}


@pytest.mark.parametrize(
    ("labels", "environment", "kind"),
    [
        ({**AGENT, "dev.runner.recipe": "ours"}, OWN_ENV, "ours"),
        ({**AGENT, "dev.runner.recipe": "dockerfile"}, OWN_ENV, "dockerfile"),
        ({**AGENT, "dev.runner.recipe": "later"}, {}, "dockerfile"),
        (AGENT, OWN_ENV, "ours"),  # of an earlier version
        (AGENT, {}, "dockerfile"),
        ({"dev.runner.kind": "agent", "dev.runner.variant": "cpu"}, OWN_ENV, "ours"),  # Compose's
        ({"dev.runner.kind": "server"}, OWN_ENV, "foreign"),
        ({"dev.runner.kind": ""}, OWN_ENV, "foreign"),
        ({}, OWN_ENV, "foreign"),
    ],
)
def test_an_image_is_known_by_its_labels(
    labels: dict[str, str], environment: dict[str, str], kind: str
) -> None:
    assert find_kind(Image("sha256:1", (), labels, 1, "", environment, "/", "")) == kind


@pytest.mark.engine
def test_a_dockerfile_of_ones_own_is_taken_as_it_is(place: Workplace, tiny_image: str) -> None:
    (place.root / "Dockerfile.mine").write_text(
        f"FROM {tiny_image} AS mine\nARG WORD\nCOPY . /opt/project\nLABEL word=$WORD\n"
    )
    (place.root / "runner.toml").write_text(
        '[image]\ndockerfile = "Dockerfile.mine"\ntarget = "mine"\nargs = { WORD = "yes" }\n'
    )

    image = place.build(cpu=True)

    assert (image.kind, image.labels["word"]) == ("dockerfile", "yes")
    assert image.read_only  # it brings the project, so that its programs work beside it
    named = place.find(override=image.id)
    assert (named.kind, named.interpreter, named.read_only) == (image.kind, image.interpreter, True)
    assert Path(image.interpreter).name.startswith("python3")
    probe = probe_image(place.engine, image.id, place.state, ours=False)
    assert probe.has_program("train.py")
    with pytest.raises(RunnerError, match="cannot import wandb"):
        check_wandb(probe, image=image.tag, ours=False)


@pytest.mark.engine
def test_an_image_that_exists_is_found_with_its_interpreter(
    place: Workplace, tiny_image: str
) -> None:
    image = place.find(override=tiny_image)

    assert (image.kind, image.read_only) == ("foreign", False)
    assert image.tag == TINY
    assert not probe_image(place.engine, image.id, place.state, ours=False).has_project
    with pytest.raises(RunnerError, match="no image `runner-test/none`"):
        place.find(override="runner-test/none")
    (place.root / "runner.toml").write_text(f'[image]\nname = "{tiny_image}"\n')
    with pytest.raises(RunnerError, match="nothing to build"):
        place.build(cpu=True)


@pytest.mark.engine
def test_an_interrupted_build_leaves_nothing(place: Workplace, engine_env: TestEngine) -> None:
    words, env = ("build", "--cpu", "--no-cache"), {**os.environ, **engine_env.env}
    with start_runner(*words, cwd=place.root, env=env, apart=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("building "):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = "".join(process.stderr)
        code = process.wait(timeout=30)

    assert code == ExitCode.INTERRUPTED
    assert rest.count("error:") == rest.count("hint:") == 1
    assert [one.name for one in place.state.cache.iterdir()] == []


@pytest.mark.engine
def test_a_step_that_fails_shows_its_own_words(place: Workplace) -> None:
    (place.root / "requirements.txt").write_text("wandb==0.0.0.0.1\n")

    with pytest.raises(RunnerError, match=r"a version of `wandb` that fits `wandb==0") as caught:
        place.build(cpu=True)

    assert caught.value.code == ExitCode.FAILED
    assert [line for line in place.said if "what the project depends on` failed" in line]
    assert [line for line in place.said if "wandb==0.0.0.0.1" in line]
    assert list(place.state.cache.iterdir()) == []
