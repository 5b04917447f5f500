"""How fast `runner --help` answers, beside `wandb --help`: medians of interleaved runs.

`python -m tests.bench.help_start [ROUNDS]`
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path


def main(rounds: int = 15) -> None:
    """Print both medians in ms and their ratio (goal: at most 0.5)."""
    folder = Path(sys.executable).parent
    commands = {name: [str(folder / name), "--help"] for name in ("runner", "wandb")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):  # the first turn warms the file cache
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if turn:
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        spread = f"{min(times[name]) * 1000:.0f}-{max(times[name]) * 1000:.0f}"
        print(f"{name} --help  {median * 1000:.0f} ms (of {rounds}: {spread} ms)")
    print(f"ratio  {medians['runner'] / medians['wandb']:.2f} (goal: at most 0.5)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
