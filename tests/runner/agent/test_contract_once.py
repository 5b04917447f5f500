"""Each item of the contract is spelled out in one place of the repository."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import runner.agent.contract
from runner.agent.contract import exits, labels, limits, servers
from runner.agent.contract.failures import POLICIES
from runner.compose import pins

ROOT = Path(__file__).parents[3]
HOMES = ("runner/agent/contract/", "runner/compose/pins.py")
GENERATED = ("compose.yaml", "compose.cpu.yaml")  # and marked blocks in other files
# A program is a stranger to runner, and W&B's format its own: what is promised to programs is
# compared in test_contract.
PROGRAMS = ("amt/", "examples/", "run_sweep.py", "sweep_config.yaml")

# The same word for something else.
OTHERS = {
    ("docker/engine.sh", "compute,utility"),  # as NVIDIA's own image has it
    ("runner/image/server.py", "runner-server"),  # the image
    ("runner/server/app.py", 75),  # seconds that uvicorn keeps a connection open
    ("runner/settings/load.py", "RUNNER_"),  # settings in the host's environment
    ("runner/project/init.py", "/data"),  # the user's folder, below the workspace
    ("runner/server/app.py", "/runs"),  # a page
    ("runner/state/folder.py", "server.json"),  # where this folder's own server is
}
COMMON = {"127.0.0.1", labels.NAME_PREFIX}  # everybody's words
CHECKED = {*POLICIES}  # of a `Literal`: mypy knows each wrong one

# W&B's, CUDA's and other libraries' names are theirs: the host also reads them from its user's
# environment and sets them for client processes. They are ours where containers are made or read.
THEIRS = re.compile(r"(WANDB|CUDA|NVIDIA|OMP|SSL|REQUESTS|CURL)_")
CONTAINER_SIDE = (
    *("runner/agent/", "runner/fleet/", "runner/launchers/", "runner/engine/", "runner/compose/"),
)


def modules() -> Iterator[ModuleType]:
    yield pins
    for found in pkgutil.iter_modules(runner.agent.contract.__path__):
        yield importlib.import_module(f"runner.agent.contract.{found.name}")


def constants(value: object) -> Iterator[str | int]:
    """The values that a module defines, those inside of tables too."""
    if isinstance(value, ModuleType):
        for name, inner in vars(value).items():
            if not name.startswith("__") and not isinstance(inner, ModuleType):
                yield from constants(inner)
    elif isinstance(value, str | int):
        yield value
    elif isinstance(value, dict):
        yield from (one for part in (*value, *value.values()) for one in constants(part))
    elif isinstance(value, tuple | frozenset):
        yield from (one for part in value for one in constants(part))


def is_telling(value: object) -> bool:
    """Whether a text is a name by its form: `RUNNER_SWEEP`, `dev.runner.gpu`, `/opt/runner`."""
    return isinstance(value, str) and len(value) > 4 and bool(re.search(r"[_/.:,{-]", value))


NUMBERS = {one for one in constants(exits) if isinstance(one, int) and one > 60}
NUMBERS |= {limits.AGENT_PIDS, servers.PORT}
TEXTS = (
    {str(one) for module in modules() for one in constants(module) if is_telling(one)}
    - COMMON
    - CHECKED
)


def make_pattern(values: Iterable[object]) -> re.Pattern[str]:
    """Finds a value as a word of its own or as the beginning of a path."""
    longest_first = sorted(map(str, values), key=len, reverse=True)
    return re.compile(rf"(?<![\w./${{-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w.*-])")


EVERYTHING = make_pattern(TEXTS)
OURS = make_pattern(one for one in TEXTS if not THEIRS.match(one))
DIGITS = make_pattern(NUMBERS)


def literals(file: Path) -> Iterator[object]:
    """The constants of a program and the pieces of its f-strings; no docstring, no comment."""
    tree = ast.parse(file.read_text("utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in bare:
            yield node.value


def lines(file: Path) -> Iterator[str]:
    """Those of a script, a Dockerfile or YAML without comments and generated blocks."""
    made = False
    for line in file.read_text("utf-8").splitlines():
        if re.match(r"# (>>>|<<<)", line):
            made = ">>>" in line
        if not made:
            yield re.sub(r"(^|\s)#.*$", "", line)


def programs() -> list[str]:
    """Whatever in the repository is carried out or configures what is."""
    folders = ("runner", "docker", "amt", "examples", ".github", ".ci")
    found = [one for name in folders for one in (ROOT / name).rglob("*")]
    names = [str(one.relative_to(ROOT)) for one in (*found, *ROOT.glob("*")) if one.is_file()]
    kinds = (".py", ".sh", ".yaml", ".yml", ".toml", "Dockerfile", "Makefile", ".ci/run")
    return sorted(name for name in names if name.endswith(kinds) and not (ROOT / name).is_symlink())


def find_copies(name: str) -> Iterator[tuple[str, str | int]]:
    """What a file spells out that the contract defines."""
    pattern = EVERYTHING if name.startswith(CONTAINER_SIDE) else OURS
    for value in literals(ROOT / name) if name.endswith(".py") else lines(ROOT / name):
        if isinstance(value, int) and value in NUMBERS:
            yield name, value
        elif isinstance(value, str):
            if is_telling(value):  # the search itself takes ten times as long
                yield from ((name, one) for one in pattern.findall(value))
            if not name.endswith(".py"):
                yield from ((name, int(one)) for one in DIGITS.findall(value))


@pytest.mark.slow
def test_each_item_is_spelled_out_once() -> None:
    passed_over = (*HOMES, *GENERATED, *PROGRAMS)

    found = {
        copy
        for name in programs()
        if not name.startswith(passed_over)
        for copy in find_copies(name)
    }

    assert found - OTHERS == set()
    assert OTHERS - found == set(), "an exception that is none any more"


@pytest.mark.slow
def test_the_search_meets_what_it_looks_for() -> None:
    """A rule that no longer matches anything would hide the next copy."""
    assert len(TEXTS) > 120
    assert {69, 137, 143, 65, 75, 127, 16_384, 8080} == NUMBERS
    for name in ("compose.yaml", "tests/runner/records/0eb7efa/compose.yaml"):
        assert len({one for _, one in find_copies(name)}) > 50
    for prefix in (*HOMES, *GENERATED, *PROGRAMS, *CONTAINER_SIDE):
        assert any(name.startswith(prefix) for name in programs())
