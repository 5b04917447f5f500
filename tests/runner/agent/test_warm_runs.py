"""Runs that are forked from a warm parent: as equal to cold ones as can be."""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runner.agent.door import Door, serve
from tests.runner.agent.state import PROGRAM as STATE
from tests.runner.agent.twice import make_hand, run_twice

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "command",
    [
        "",
        "${env} ${interpreter} -B -s -W error::FutureWarning ${program} ${args}",
        "env SIZE=3 ${interpreter} -O -m pack.train ${args_no_equals}",
        "${interpreter} -u -E ${program} ${args}",
        "env PYTHONPATH=/none ${interpreter} -I ${program} ${args}",
    ],
)
def test_a_forked_run_finds_what_a_cold_one_finds(tmp_path: Path, command: str) -> None:
    files = {"pack/__init__.py": "", "pack/train.py": STATE}
    cold, warm = (
        json.loads(re.sub("0x[0-9a-f]+|:[0-9]{4,5}", "N", (hand.work / "state.json").read_text()))
        for hand, _, _ in run_twice(tmp_path, STATE, command=command, files=files)
    )

    # the differences that docs/program-contract.md lists
    assert cold.pop("finders") + 1 == warm.pop("finders")
    assert set(cold.pop("after")) <= set(warm.pop("after"))
    if "-m" in command:  # `runpy` has imported some that the agent's code needs, too
        odd = set(cold.pop("modules")) ^ set(warm.pop("modules"))
        assert {one.partition(".")[0] for one in odd} <= sys.stdlib_module_names
    assert cold == warm


def test_modules_come_into_sight_when_they_are_imported(tmp_path: Path) -> None:
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
before = "numpy" in sys.modules
import numpy
after = sorted(sys.modules), [repr(one) for one in warnings.filters], len(sys.meta_path)
last = numpy.__spec__.origin, type(numpy.__loader__).__name__
json.dump([before, after, *last], open("seen", "w"))
"""
    seen = [
        json.loads((hand.work / "seen").read_text()) for hand, _, _ in run_twice(tmp_path, program)
    ]

    cold, warm = seen
    assert cold[0] is warm[0] is False
    assert set(cold[1][0]) <= set(warm[1][0])
    assert cold[1][1:] == warm[1][1:]
    assert cold[2:] == warm[2:]


@pytest.mark.parametrize("command", ["", "${env} ${interpreter} -m pack.train"])
def test_what_a_package_sets_is_there_from_its_own_import_on(tmp_path: Path, command: str) -> None:
    """Not from that of a module of Python's that the package imported; `-m` needs some itself."""
    site = tmp_path / "env" / "site-packages"
    site.mkdir(parents=True)
    (site / "moody.py").write_text(
        "import importlib.util, os, pkgutil, warnings\n"
        "os.environ['MOOD'] = 'good'\nwarnings.simplefilter('ignore')\n"
    )
    program = """
import importlib, os, sys, warnings
__import__("pkgutil")  # so that the parent has it from the package
before = os.environ.get("MOOD"), "moody" in sys.modules, len(warnings.filters)
importlib.util.find_spec("json")
import moody
print(before, os.environ["MOOD"], len(warnings.filters) - before[2])
"""
    files = {"pack/__init__.py": "", "pack/train.py": program}
    seen = [
        out for _, out, _ in run_twice(tmp_path, program, command=command, files=files, site=site)
    ]

    assert seen[0] == seen[1]
    assert "(None, False, " in seen[0]


def test_seeded_draws_are_equal_and_others_differ(tmp_path: Path) -> None:
    program = """
import json, random, sys, tempfile, uuid, multiprocessing, multiprocessing.process
import numpy
key = multiprocessing.process.current_process().authkey.hex()
free = [random.random(), numpy.random.rand(), str(uuid.uuid4()), tempfile.mktemp(), key]
random.seed(1); numpy.random.seed(1)
import torch
torch.manual_seed(1)
layer = torch.nn.Linear(64, 64)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    layer(torch.rand(32, 64)).square().mean().backward()
    optimizer.step()
trained = layer.weight.detach().numpy().tobytes().hex()
print(json.dumps([free, [random.random(), numpy.random.rand(), trained]]))
"""
    (_, cold, _), (_, warm, _) = run_twice(tmp_path, program)
    with serve() as door:
        for run in ("r1", "r2", "r3"):
            door.add(run)
        code, more, err = make_hand(tmp_path, door, program, "", {}).start().finish(120)

    assert code == 0, err
    assert err.count("starts warm") == 3, err
    free, seeded = zip(*map(read_values, (cold + warm + more).splitlines()), strict=True)
    assert len({json.dumps(one) for one in seeded}) == 1
    for draws in zip(*free, strict=True):
        assert len(set(draws)) == 5


def read_values(line: str) -> list[Any]:
    found = json.loads(line.partition(" | ")[2])
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"])
def test_each_run_has_the_temporary_folders_of_imports_for_itself(
    tmp_path: Path, door: Door, end: str
) -> None:
    """W&B's client makes one when it is imported, for pictures, and removes it at the end."""
    program = f"""
import os, pathlib, sys
from wandb.sdk.data_types._private import MEDIA_TMP
folder = pathlib.Path(MEDIA_TMP.name)
print(sorted(folder.iterdir()), oct(folder.stat().st_mode & 0o777), flush=True)
(folder / "picture").touch()
{end}
"""
    for run in ("r1", "r2", "r3"):
        door.add(run)
    hand = make_hand(tmp_path, door, program, "", {}, TMPDIR=str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    code, out, err = hand.start().finish(120)

    assert code == 0, err
    assert err.count("starts warm") == 3, err
    assert [line.partition(" | ")[2] for line in out.splitlines()] == ["[] 0o700"] * 3, err
    left = list((tmp_path / "temporary").glob("*wandb-media"))
    assert len(left) <= 1, left  # of a killed run, or of the parent's last child


WAITS = """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()
"""
ENDS = {
    "returns": ("print('x', end='')", 0),
    "exits with text": ("import sys; sys.exit('told')", 1),
    "exits with 75": ("import sys; sys.exit(75)", 75),
    "raises": ("def f():\n    raise ValueError('boom')\nf()", 1),
    "is not Python": ("def f(:", 1),
    "is interrupted": ("raise KeyboardInterrupt", -2),
    "is killed": ("import os; os.kill(os.getpid(), 9)", -9),
    "leaves at once": ("import os; print('lost'); os._exit(5)", 5),
    "has an exit handler": ("import atexit; atexit.register(print, 'bye'); 1 / 0", 1),
    "waits for a thread": (WAITS, 0),
    "drops an object": ("class A:\n    def __del__(self): print('gone')\na = A()", 0),
    "leaves a file open": ("file = open('text', 'w'); file.write('kept')", 0),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_forked_run_ends_as_a_cold_one(tmp_path: Path, how: str) -> None:
    program, code = ENDS[how]
    ends = []
    for hand, out, err in run_twice(tmp_path, program):
        said = [line for line in err.splitlines() if line.startswith("r1 | ")]
        file = hand.work / "text"
        text = file.read_text() if file.exists() else None
        ends.append((hand.door.ended()["r1"]["exit_code"], out, said, text))

    assert ends[0] == ends[1]
    assert ends[0][0] == code
    if how == "leaves a file open":
        assert ends[0][3] == "kept"


PROGRAMS = {
    "a data loader that forks": """
import torch
from torch.utils.data import DataLoader, TensorDataset
if __name__ == "__main__":
    loader = DataLoader(TensorDataset(torch.arange(8)), batch_size=4, num_workers=2,
                        multiprocessing_context="fork")
    print([batch[0].tolist() for batch in loader])
""",
    "a data loader that spawns": """
import torch
from torch.utils.data import DataLoader
class Squares(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, at): return at * at
if __name__ == "__main__":
    loader = DataLoader(Squares(), batch_size=2, num_workers=2, multiprocessing_context="spawn")
    print([batch.tolist() for batch in loader])
""",
    "a pool that spawns": """
import multiprocessing, sys
def work(number): return number, __name__, sys.argv, sys.path[0]
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(work, [1, 2]))
""",
    "a fork of its own": """
import os, sys
if os.fork() == 0:
    print("child"); sys.exit(3)
print(os.waitstatus_to_exitcode(os.wait()[1]))
""",
    "pickles of its own classes": """
import pickle
class A: pass
print(pickle.loads(pickle.dumps(A())).__class__ is A, pickle.dumps(A))
""",
    "modules that our own code needs": """
import re, glob, json, ast, socket, dataclasses, importlib.util, ctypes, inspect, resource, typing
from json import decoder
print(re.compile("([*?[])").findall("a*"), json.loads('{"a": [1.5]}'), len(ast.parse("a").body))
print(ctypes.sizeof(ctypes.c_int), glob.glob("/pro[c]"), decoder.JSONDecoder().decode("2"))
print(importlib.util.find_spec("numpy").name, socket.gethostbyname("127.0.0.1"))
print(inspect.signature(dataclasses.make_dataclass("A", ["a"])), typing.get_type_hints(ast.AST))
""",
    "stdin": "import sys; print(repr(sys.stdin.read()), repr(sys.stdin))",
    "argv that it changes": "import sys; sys.argv[1:] = ['a']; print(sys.argv, sys.orig_argv[1:])",
    "a variable before an import": """
import os
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MKL_NUM_THREADS", "1")
import torch
print(torch.get_num_threads())
""",
    "a variable whose name it makes up, before an import": """
import os
os.environ["OMP" + "_NUM_THREADS"] = "1"
import torch
print(torch.get_num_threads())
""",
    "numbers on several cores": """
import numpy, torch
a = numpy.ones((300, 300)); print((a @ a).sum())
b = torch.ones(300, 300); print(torch.mm(b, b).sum().item(), torch.rand(3000000).exp().shape)
""",
    "click": """
import click
@click.command()
@click.option("--lr", type=float)
def main(lr): click.echo(f"lr {lr}")
main()
""",
    "typer": """
import typer
def main(lr: float = typer.Option()): print("lr", lr)
typer.run(main)
""",
    "a module of its own beside it": "import own; print(own.NAME, own.__file__, own)",
    "a module of the standard library's name": "import email; print(email.OWN)",
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_programs_of_all_kinds_do_the_same_forked_and_cold(tmp_path: Path, what: str) -> None:
    files = {"own.py": "NAME = __name__"}
    if "standard" in what:
        files["email.py"] = "OWN = 'the project has it'"

    seen = [
        (hand.door.ended()["r1"]["exit_code"], out)
        for hand, out, _ in run_twice(tmp_path, PROGRAMS[what], files=files)
    ]

    assert seen[0] == seen[1]
    assert seen[0][0] == 0


def test_only_python_of_the_agents_kind_starts_warm_and_the_log_says_why(
    tmp_path: Path, door: Door
) -> None:
    door.add("r1")
    hand = make_hand(tmp_path, door, "", "sh -c true", {})

    code, _, err = hand.run()

    assert code == 0
    assert "runner: r1 starts cold: `sh` is not named as a Python interpreter\n" in err


def test_an_edit_between_two_runs_makes_a_new_parent(tmp_path: Path, door: Door) -> None:
    program = """
import sys
sys.path[0:0] = []
text = open(__file__).read()
print(text.endswith("# edited"))
open(__file__, "w").write(text + "# edited")
"""
    for run in ("r1", "r2", "r3"):
        door.add(run)

    code, out, err = make_hand(tmp_path, door, program, "", {}).run()

    assert (code, out) == (0, "r1 | False\nr2 | True\nr3 | True\n"), err
    assert "train.py` has changed: its warm parent is replaced" in err
    assert err.count("starts warm") == 3


def test_an_edit_of_an_installed_module_makes_a_new_parent(tmp_path: Path, door: Door) -> None:
    """In place: the folder of packages, which lists them, does not change."""
    package = tmp_path / "lib" / "site-packages" / "edited"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("SAYS = 'before'\n")
    program = """
from edited.part import SAYS
print(SAYS)
open(__import__("edited.part").part.__file__, "w").write("SAYS = 'after it'\\n")
"""
    for run in ("r1", "r2", "r3"):
        door.add(run)

    code, out, err = make_hand(
        tmp_path, door, program, "", {}, PYTHONPATH=str(package.parent)
    ).run()

    assert (code, out) == (0, "r1 | before\nr2 | after it\nr3 | after it\n"), err
    assert "site-packages/edited/part.py` has changed: its warm parent is replaced" in err
    assert err.count("starts warm") == 3


def test_parent_and_child_go_with_the_agent(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    program = "import os, time; open('up', 'w').write(str(os.getpid())); time.sleep(60)"
    hand = make_hand(tmp_path, door, program, "", {}).start()
    hand.wait_for(lambda: (hand.work / "up").read_text())
    assert hand.process
    run = int((hand.work / "up").read_text())
    kept: set[int] = set()

    def has_two() -> bool:
        kept.update(set(list_children(hand.process.pid)) - {run})  # type: ignore[union-attr]  # it runs
        return len(kept) == 2

    hand.wait_for(has_two, timeout_s=60)
    hand.process.kill()

    try:
        hand.wait_for(lambda: not any(map(is_forked, kept)), timeout_s=60)
    finally:
        os.kill(run, signal.SIGKILL)  # it outlives its agent, as a cold one
    hand.process.communicate()


def list_children(pid: int) -> list[int]:
    folder = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in folder.read_text().split()]


def is_forked(pid: int) -> bool:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()) == os.path.realpath(sys.executable)
    except OSError:
        return False
