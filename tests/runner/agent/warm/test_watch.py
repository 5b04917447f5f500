"""What an import leaves in the parent, as the parent sees it."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("numpy", reason="wheels: numpy is not installed")

PROGRAM = """
import json, os, socket, sys, threading, time
from runner.agent.warm import watch
before = watch.Seen.read()
import numpy
fault = watch.find_fault(before, watch.Seen.read())
mine = threading.Thread(target=time.sleep, args=(9,), daemon=True)
mine.start()
threads = watch.Seen.read().threads - before.threads
product = float((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum())
mine_last = sorted(threads, key=lambda one: one == mine.native_id)
safe = [watch.is_safe_thread(one) for one in mine_last]
child = os.fork()  # from here on OpenBLAS has others
if child == 0:
    same = float((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum()) == product
    os._exit(0 if same else 1)
ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
json.dump([fault, safe, ended], sys.stdout)
"""


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_of_openblas_are_known_as_soon_as_it_is_imported(threads: int) -> None:
    """They look for work before they sleep; parent and child compute; another thread is foreign."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    fault, safe, ended = json.loads(done.stdout)
    assert fault is None
    assert safe == [True] * (min(threads, os.cpu_count() or 1) - 1) + [False]
    assert ended == 0
