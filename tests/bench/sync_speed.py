"""`sync-offline` with its verification against `wandb sync -n 5` without, on loopback.

python -m tests.bench.sync_speed [RUNS [STEPS]]
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.logs import start_runs, wait


def timed(cloud: Cloud, home: Path, *command: str) -> float:
    """Seconds of one command."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", *command],
        cwd=home,
        env={**cloud.environment(home), "XDG_STATE_HOME": str(home / "xdg")},
        check=True,
        capture_output=True,
    )
    return time.monotonic() - began


def main() -> None:
    """Print both times and their ratio."""
    given = [int(one) for one in sys.argv[1:3]]
    runs, steps = given + [50, 1000][len(given) :]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        ids = [f"run{number}" for number in range(runs)]
        assert wait(start_runs(root / "made", "good", *ids, ROWS=str(steps))) == 0
        seconds = {}
        for which, command in {
            "wandb sync -n 5": ("wandb", "sync", "-n", "5", "--yes"),
            "runner sync-offline": ("runner", "sync-offline", "--json"),
        }.items():
            home = root / which.split()[0]
            shutil.copytree(root / "made" / "wandb", home / "wandb", symlinks=True)
            with start_cloud(root / f"{home.name}-cloud", lag_s=0, limit_every=0, tls=False) as at:
                seconds[which] = timed(at, home, *command)
                whole = [run for run in at.runs("p") if run.history_rows == steps]
                assert len(whole) == runs, len(whole)
        for which, spent in seconds.items():
            print(f"{which:<22}{spent:8.2f} s   {runs} runs of {steps} steps")
        plain, ours = seconds.values()
        print(f"{'ratio':<22}{ours / plain:8.2f}")


if __name__ == "__main__":
    main()
