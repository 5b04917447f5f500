"""Run one of the services; the others' modules are not loaded: `health` runs every few seconds."""

import sys
from importlib import import_module

from runner import console
from runner.agent.contract import labels
from runner.errors import ExitCode, RunnerError

SERVICES = {
    labels.INIT_ROLE: "runner.compose.services.init",
    labels.SERVER_ROLE: "runner.compose.services.server",
    labels.SWEEP_ROLE: "runner.compose.services.sweep",
    "health": "runner.compose.services.health",
}


def main() -> int:
    """Run the service of this name, `run` in its module; its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in SERVICES:
        console.note(f"usage: python -m runner.compose {'|'.join(SERVICES)}")
        return int(ExitCode.USAGE)
    try:
        return int(import_module(SERVICES[name]).run())
    except RunnerError as error:
        console.report_error(error, as_json=False)
        return int(error.code)
