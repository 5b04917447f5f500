"""`sync-offline` with its verification against `wandb sync -n 5` without, on loopback, in turns.

python -m tests.bench.sync_speed [RUNS [STEPS [ROUNDS]]]
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.logs import start_runs, wait

COMMANDS = {
    "wandb sync -n 5": ("wandb", "sync", "-n", "5", "--yes"),
    "runner sync-offline": ("runner", "sync-offline", "--json"),
}


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
    """Print the medians of both and their ratio."""
    given = [int(one) for one in sys.argv[1:4]]
    runs, steps, rounds = given + [50, 1000, 3][len(given) :]
    seconds: dict[str, list[float]] = {which: [] for which in COMMANDS}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        ids = [f"run{number}" for number in range(runs)]
        assert wait(start_runs(root / "made", "good", *ids, ROWS=str(steps))) == 0
        for number in range(rounds):
            for which, command in COMMANDS.items():
                home = root / f"{which.split()[0]}{number}"
                shutil.copytree(root / "made" / "wandb", home / "wandb", symlinks=True)
                folder = root / f"{home.name}-cloud"
                with start_cloud(folder, lag_s=0, limit_every=0, tls=False) as cloud:
                    seconds[which].append(timed(cloud, home, *command))
                    whole = [run for run in cloud.runs("p") if run.history_rows == steps]
                    assert len(whole) == runs, len(whole)
                shutil.rmtree(home)
    for which, all_of_it in seconds.items():
        each = ", ".join(f"{one:.2f}" for one in all_of_it)
        print(f"{which:<22}{statistics.median(all_of_it):8.2f} s   median of {each}")
    plain, ours = map(statistics.median, seconds.values())
    print(f"{'ratio':<22}{ours / plain:8.2f}     {runs} runs of {steps} steps")


if __name__ == "__main__":
    main()
