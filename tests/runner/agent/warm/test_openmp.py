"""OpenMP's threads in a warm parent: LLVM's survive a fork, GNU's do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runner.server.clients import environment_python

SOURCE = """
#include <omp.h>
double total(int n) {
    double sum = 0;
    #pragma omp parallel for reduction(+:sum)
    for (int i = 0; i < n; i++) sum += i;
    return sum;
}
int width(void) {
    int n = 0;
    #pragma omp parallel
    #pragma omp single
    n = omp_get_num_threads();
    return n;
}
"""
PROGRAM = """
import ctypes, json, os, socket, sys
from runner.agent.warm import watch
before = watch.Seen.read()
library = ctypes.CDLL(sys.argv[1])
library.total.restype = ctypes.c_double
seen = [library.width(), library.total(1000)]
fault = watch.find_fault(before, watch.Seen.read())
ended = []
if fault is None:
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(0 if [library.width(), library.total(1000)] == seen else 1)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        ended.append([library.width(), library.total(1000)])
json.dump([fault, seen, ended], sys.stdout)
"""


def see(library: Path) -> tuple[str | None, list[float], list[object]]:
    """What `find_fault` says, and what is computed before, in three children, and after each."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(library)],
        env={**os.environ, "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    fault, seen, ended = json.loads(done.stdout)
    return fault, seen, ended


def make_library(folder: Path, *link: str) -> Path:
    """Build the source with GCC; `link` names the OpenMP that runs it."""
    (folder / "sum.c").write_text(SOURCE)
    subprocess.run(
        ["gcc", "-fopenmp", "-fPIC", "-c", "sum.c", "-o", "sum.o"], cwd=folder, check=True
    )
    subprocess.run(["gcc", "-shared", "sum.o", "-o", "sum.so", *link], cwd=folder, check=True)
    return folder / "sum.so"


def test_threads_of_gnus_openmp_keep_a_package_out(tmp_path: Path) -> None:
    """A parallel region in a child would wait for ever for the parent's threads."""
    fault, seen, _ = see(make_library(tmp_path, "-fopenmp"))

    assert seen == [3, 499500]
    assert fault == "starts 2 native threads"


@pytest.mark.reference
def test_parent_and_children_compute_with_llvms_openmp(tmp_path: Path) -> None:
    """Intel's build of it, which MKL and numpy of conda bring."""
    home = environment_python("openmp", "intel-openmp==2025.3.1").parent.parent
    library = home / "lib" / "libiomp5.so"
    link = (str(library), f"-Wl,-rpath,{library.parent}")

    fault, seen, ended = see(make_library(tmp_path, *link))

    assert seen == [3, 499500]
    assert fault is None
    assert ended == [0, seen] * 3
