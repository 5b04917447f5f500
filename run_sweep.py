"""Create or join a W&B sweep of amt and run some of its runs here, without containers.

The server is `WANDB_BASE_URL`, or W&B's cloud. With `WANDB_MODE=offline` a new sweep needs none:
its configurations are drawn here, and the runs log on disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amt.draw import draw_configs
from amt.errors import AmtError

ROOT = Path(__file__).resolve().parent


class SweepError(Exception):
    """The user's to cure: one line says what."""


def main(arguments: Sequence[str]) -> int:
    """Run with the command line's options; gives the exit code."""
    options = _parse(arguments)
    try:
        sweep = {} if options.sweep_id else _read_sweep(options.config)
        _enter_root()
        if sweep and os.environ.get("WANDB_MODE") == "offline":
            return _run_offline(options, sweep)
        _run_agent(options, sweep)
    except (SweepError, AmtError) as error:
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


def _enter_root() -> None:
    os.chdir(ROOT)  # the sweep's program is named from here
    here = Path(sys.executable).parent  # the sweep's command says `python`: mean this one
    os.environ["PATH"] = os.pathsep.join([str(here), os.environ.get("PATH", os.defpath)])


def _run_offline(options: argparse.Namespace, sweep: Mapping[str, Any]) -> int:
    """Runs drawn here, one after the other; three failures in a row end it."""
    if sweep.get("method") == "bayes" or sweep.get("early_terminate"):
        _note("offline no run tells how good it is: drawn at random, and none is stopped early")
    environ = {"WANDB_PROJECT": options.project, "WANDB_RUN_GROUP": str(sweep.get("name", "sweep"))}
    failures: list[bool] = []
    configs = draw_configs(sweep, random.Random())  # noqa: S311 - a search, no secret
    for number, config in enumerate(itertools.islice(configs, options.count), 1):
        values = ", ".join(f"{name}={value}" for name, value in config.items())
        _note(f"run {number} of at most {options.count}: {values}")
        done = subprocess.run(
            _make_command(sweep, config), env={**os.environ, **environ}, check=False
        )
        failures.append(done.returncode != 0)
        if len(failures) >= 3 and all(failures[-3:]):
            raise SweepError("three runs in a row failed; their output says why")
    folder = Path(os.environ.get("WANDB_DIR") or ROOT) / "wandb"
    _note(f"{len(failures)} runs are in `{folder}`: `runner sync-offline {folder}` sends them")
    return int(any(failures))


def _make_command(sweep: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    template = sweep.get("command") or ["${env}", "${interpreter}", "${program}", "${args}"]
    parts = {
        "${env}": [],
        "${interpreter}": [sys.executable],
        "${program}": [str(sweep.get("program"))],
        "${args}": [f"--{name}={value}" for name, value in config.items()],
    }
    unknown = [part for part in template if part.startswith("${") and part not in parts]
    if unknown:
        raise SweepError(f"`{unknown[0]}` in the sweep's command needs W&B's own agent")
    return [word for part in template for word in parts.get(part, [part])]


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _run_agent(options: argparse.Namespace, config: dict[str, Any]) -> None:
    import wandb  # a second, which a mistake above need not wait for

    try:
        if not wandb.login():
            raise SweepError("W&B knows no key: set `WANDB_API_KEY` or run `wandb login`")
        sweep_id = options.sweep_id or wandb.sweep(config, project=options.project)
        wandb.agent(sweep_id, project=options.project, count=options.count)
    except wandb.Error as error:
        raise SweepError(f"W&B: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
