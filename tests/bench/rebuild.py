"""How long a build takes: the first one, one after an edit of the code, and one without a change.

`python -m tests.bench.rebuild [--project examples/plain] [--rounds 3]`: `runner build --cpu` in a
copy of the project, first with every step built anew. It prints medians, and their ratios to the
first build.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.rig.command import ROOT, RUNNER
from tests.rig.engine import find_engine

MOST = {"code": 1 / 10, "nothing": 1 / 30}  # of the first build


def build(project: Path, env: dict[str, str], *words: str) -> float:
    """Seconds of one `runner build --cpu`, from its start to its end."""
    begun = time.monotonic()
    command = [*RUNNER, "build", "--cpu", *words]
    subprocess.run(command, cwd=project, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def measure(project: Path, env: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each build, by what had changed before it."""
    program = next(project.glob("*.py"))
    took: dict[str, list[float]] = {"everything": [build(project, env, "--no-cache")]}
    for number in range(rounds):
        took.setdefault("nothing", []).append(build(project, env))
        with program.open("a") as file:
            file.write(f"# edit {number}\n")
        took.setdefault("code", []).append(build(project, env))
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, default=ROOT / "examples" / "plain")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    engine = find_engine()
    with tempfile.TemporaryDirectory(prefix="runner-rebuild-") as place:
        project = Path(place, f"rebuild-{os.getpid()}")
        shutil.copytree(asked.project, project)
        env = {**os.environ, **engine.env, "PYTHONPATH": str(ROOT)}
        env["XDG_STATE_HOME"] = str(Path(place, "state"))
        try:
            took = measure(project, env, asked.rounds)
        finally:
            images = engine.docker("images", "-q", f"runner-{project.name}").split()
            for image in images:
                engine.docker("rmi", "-f", image)
    first = took["everything"][0]
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| changed | builds | median | of the first | at most |\n|---|---|---|---|---|")
    bad = 0
    for name, seconds in took.items():
        median = statistics.median(seconds)
        most = MOST.get(name)
        bad += most is not None and median > most * first
        bound = f"1/{1 / most:.0f}" if most else ""
        print(f"| {name} | {len(seconds)} | {median:.1f} s | 1/{first / median:.1f} | {bound} |")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
