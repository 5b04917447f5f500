"""Print a finished demo's best run and the best constant, from `runner sweep show --json`."""

import json
import sys

METRIC, BASELINE = "val/hand_mpjpe", "constant/hand_mpjpe"


def main() -> int:
    """Print the best run, the constant and the page; return 1 if no run logged the metric."""
    shown = json.load(sys.stdin)
    best, runs = shown["best"], shown["runs"]
    if best is None:
        sys.stderr.write(f"error: no run has logged `{METRIC}`\nhint: runner logs\n")
        return 1
    finished = sum(run["state"] == "finished" for run in runs)
    constant = best["summary"].get(BASELINE)
    config = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in best["config"].items()
        if key in shown["parameters"]
    )
    sys.stdout.write(
        f"{finished} of {len(runs)} runs finished\n"
        f"best run   {best['id']}: {METRIC} {best['best']:.1f} mm ({config})\n"
        f"constant   {constant:.1f} mm, {constant - best['best']:.1f} mm worse\n"
        f"page       {shown['url']} (user `api`, password: the line in .runner/secrets/server)\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
