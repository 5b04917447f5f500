"""Do the tests see meaning? One-line changes that make amt wrong, each with the tests that notice.

    python -m tests.amt.mutants            each change against its own tests, as CI does
    python -m tests.amt.mutants --all      each change against all tests of amt, slow ones only
                                           where no unmarked one notices
    python -m tests.amt.mutants NAME…      these changes only

Each change is made in a copy of the tree, in a process forked from one that has torch imported.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.amt.mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("amt", "tests", "runner", "pyproject.toml")
COPIED_FILES = ("run_sweep.py", "sweep_config.yaml")
ABOUT_CHANGES = "test_amt_mutants.py"  # looks for the lines themselves: it notices every change
LEFT_OUT = ("engine", "gpu", "reference", "client", "mutants")
UNMARKED, SLOW, BOTH = "not slow", "slow", "slow or not slow"
EVERYTHING = ("tests/amt",)
NO_TESTS = 5  # pytest's exit code where none is of the kind


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change."""

    mutant: Mutant
    killed: bool
    failed_tests: tuple[str, ...]
    seconds: float
    output: str


def main(arguments: Sequence[str]) -> int:
    """Print a line per change; 1 if one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.amt.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="of changes; default: all")
    parser.add_argument("--all", action="store_true", help="run all tests against each")
    options = parser.parse_args(arguments)
    chosen = [one for one in MUTANTS if not options.names or one.name in options.names]
    _import_heavy()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        tree = Path(folder) / "tree"
        _copy_tree(tree)
        compileall.compile_dir(tree, quiet=1)
        control = pool.submit(_try, _make_control(chosen, options.all), tree, whole=options.all)
        outcomes = []
        for outcome in pool.map(lambda one: _try(one, tree, whole=options.all), chosen):
            _print(outcome)
            outcomes.append(outcome)
    if control.result().killed:
        print(f"the tests fail without any change:\n{control.result().output[-4000:]}")
        return 1
    survivors = [outcome for outcome in outcomes if not outcome.killed]
    print(
        f"{len(outcomes) - len(survivors)} of {len(outcomes)} killed "
        f"in {time.monotonic() - began:.0f} s"
    )
    return int(bool(survivors))


def _make_control(chosen: Sequence[Mutant], whole: bool) -> Mutant:
    """No change at all, against the tests of all changes: none may fail."""
    own = sorted({test.partition("::")[0] for one in chosen for test in one.tests})
    nothing = ("amt/__init__.py", '"""', '"""')
    return Mutant("control", *nothing, EVERYTHING if whole else tuple(own))


def _import_heavy() -> None:
    """What takes seconds and is never changed; nothing of amt but its declaration of operators."""
    import amt.vision  # noqa: F401 - before timm

    # isort: split

    import docker  # noqa: F401
    import huggingface_hub  # noqa: F401
    import pytest  # noqa: F401
    import timm.models  # noqa: F401
    import torch
    import wandb  # noqa: F401
    import yaml  # noqa: F401

    torch.set_num_threads(1)


def _try(mutant: Mutant, tree: Path, *, whole: bool) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-", dir=tree.parent) as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(tree, copy, copy_function=os.link)
        _apply(mutant, copy)
        if whole:
            (copy / "tests/amt" / ABOUT_CHANGES).unlink()
        for number, (kinds, tests) in enumerate(_rounds(mutant, whole=whole)):
            output = Path(folder) / f"output{number}"
            code = _run_forked(copy, tests, output, kinds=kinds)
            if code not in {0, NO_TESTS}:
                break
        text = output.read_text(errors="replace")
    failed = tuple(
        line.split(" - ")[0].removeprefix("FAILED ").removeprefix("ERROR ")
        for line in text.splitlines()
        if line.startswith(("FAILED ", "ERROR "))
    )
    return Outcome(mutant, code == 1, failed, time.monotonic() - began, text)


def _rounds(mutant: Mutant, *, whole: bool) -> list[tuple[str, Sequence[str]]]:
    """Which tests are run until some fail: quick ones first, then those that were made for it."""
    if not whole:
        return [(BOTH, mutant.tests)]
    return list(dict.fromkeys([(UNMARKED, EVERYTHING), (SLOW, mutant.tests), (SLOW, EVERYTHING)]))


def _copy_tree(copy: Path) -> None:
    for name in (*COPIED, *COPIED_FILES):
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def _apply(mutant: Mutant, copy: Path) -> None:
    file = copy / mutant.file
    text = file.read_text()
    file.unlink()  # it is linked to the one that all copies share
    file.write_text(text.replace(mutant.before, mutant.after))


def _run_forked(copy: Path, tests: Sequence[str], output: Path, *, kinds: str) -> int:
    """Pytest's exit code: 1 where a test failed."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    try:
        os._exit(_test_in_child(copy, tests, output, kinds=kinds))
    except BaseException:  # noqa: BLE001 - a forked child may do nothing but leave
        traceback.print_exc()
        os._exit(99)


def _test_in_child(copy: Path, tests: Sequence[str], output: Path, *, kinds: str) -> int:
    import pytest

    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(copy)
    ours = [one for one in sys.modules if one.split(".")[0] in {"amt", "tests", "runner"}]
    for name in set(ours) - {"amt.vision"}:  # torch takes its declarations once
        del sys.modules[name]
    sys.path[:] = [str(copy), *(one for one in sys.path if one not in {"", str(ROOT)})]
    # plugins that timm's dependencies have imported cannot be loaded once more
    options = ["-q", "-rfE", "--tb=line", "--disable-plugin-autoload", "-p", "pytest_timeout"]
    options += ["-p", "no:cacheprovider"]
    options += ["-m", " and ".join([f"({kinds})", *(f"not {mark}" for mark in LEFT_OUT)])]
    options += [] if kinds == UNMARKED else ["-x"]
    code = pytest.main([*options, f"--rootdir={copy}", f"--basetemp={output}.tmp", *tests])
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


def _print(outcome: Outcome) -> None:
    verdict = f"killed by {len(outcome.failed_tests)}" if outcome.killed else "SURVIVED"
    first = outcome.failed_tests[0].rpartition("::")[2] if outcome.failed_tests else ""
    print(f"{outcome.mutant.name:44} {verdict:16} {outcome.seconds:5.1f} s  {first}", flush=True)
    if not outcome.killed:
        print(outcome.output[-2000:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
