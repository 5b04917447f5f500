"""Create or join a W&B sweep of amt and run some of its runs here, without containers.

The server is `WANDB_BASE_URL`, or W&B's cloud.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent


class SweepError(Exception):
    """The user's to cure: one line says what."""


def main(arguments: Sequence[str]) -> int:
    """Run with the command line's options; gives the exit code."""
    options = _parse(arguments)
    try:
        _run_agent(options, {} if options.sweep_id else _read_sweep(options.config))
    except SweepError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run_sweep.py", description=__doc__)
    parser.add_argument("--project", help="W&B project; default: `WANDB_PROJECT`, else `amt`")
    parser.add_argument("--count", type=int, default=10, help="how many runs; default: %(default)s")
    parser.add_argument("--sweep_id", help="join this sweep: `ID` or `entity/project/ID`")
    parser.add_argument(
        "--config",
        type=Path,
        default=ROOT / "sweep_config.yaml",
        help="what to search, for a new sweep; default: sweep_config.yaml",
    )
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be at least 1")
    options.project = options.project or os.environ.get("WANDB_PROJECT") or "amt"
    return options


def _read_sweep(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"sweep file `{path}`: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SweepError(f"sweep file `{path}`: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or "parameters" not in config:
        raise SweepError(f"sweep file `{path}` has no `parameters`")
    return config


def _run_agent(options: argparse.Namespace, config: dict[str, Any]) -> None:
    import wandb  # a second, which a mistake above need not wait for

    os.chdir(ROOT)  # the sweep's program is named from here
    here = Path(sys.executable).parent  # the sweep's command says `python`: mean this one
    os.environ["PATH"] = os.pathsep.join([str(here), os.environ.get("PATH", os.defpath)])
    try:
        if not wandb.login():
            raise SweepError("W&B knows no key: set `WANDB_API_KEY` or run `wandb login`")
        sweep_id = options.sweep_id or wandb.sweep(config, project=options.project)
        wandb.agent(sweep_id, project=options.project, count=options.count)
    except wandb.Error as error:
        raise SweepError(f"W&B: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
