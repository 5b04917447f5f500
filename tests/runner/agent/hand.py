"""An agent started by hand: the real program in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.rig.waiting import wait_for
from tests.runner.agent.door import KEY, Door

ROOT = Path(__file__).parents[3]


class Hand:
    """One agent, its folders and what it wrote."""

    def __init__(self, folder: Path, door: Door, program: str, **env: str) -> None:
        self.folder, self.door = folder, door
        self.project, self.status_dir = folder / "project", folder / "status"
        self.work, self.runs = folder / "work" / "a-0", folder / "runs"
        self.checkpoints = folder / "checkpoints"
        self.project.mkdir(exist_ok=True)
        self.status_dir.mkdir(exist_ok=True)
        (self.project / "train.py").write_text(program)
        (folder / "key").write_text(KEY + "\n")
        self.env = {
            "PATH": os.environ["PATH"],
            "RUNNER_SWEEP": "me/proj/s1",
            "RUNNER_AGENT": "a-0",
            "RUNNER_GPU_UUID": "cpu-0",
            "RUNNER_SERVER_KIND": "runner",
            "RUNNER_KEY_FILE": str(folder / "key"),
            "RUNNER_STATUS_DIR": str(self.status_dir),
            "RUNNER_PROJECT_DIR": str(self.project),
            "RUNNER_WORKSPACE": str(self.work),
            "RUNNER_CHECKPOINTS": str(self.checkpoints),
            "RUNNER_LEASES": str(folder / "leases"),
            "RUNNER_HEARTBEAT_S": "0.2",
            "RUNNER_GRACE_S": "5",
            "WANDB_BASE_URL": door.url,
            "WANDB_DIR": str(self.runs),
            **env,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, *before: str) -> "Hand":
        """Start it, by the command `before` where there is one."""
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "runner.agent"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def finish(self, timeout_s: float = 20.0) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        assert self.process
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"the agent did not end:\n{out}\n{err}") from None
        return self.process.returncode, out, err

    def run(self) -> tuple[int, str, str]:
        return self.start().finish()

    def terminate(self) -> float:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return time.monotonic()

    def status(self) -> dict[str, Any]:
        value = json.loads((self.status_dir / "a-0.json").read_text())
        assert isinstance(value, dict)
        return value

    def wait_for(self, what: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Until `what` is true; a failure quotes the agent."""
        wait_for(what, timeout_s, pause_s=0.01, otherwise=self._kill)

    def _kill(self) -> tuple[str, str]:
        assert self.process
        self.process.kill()
        return self.process.communicate()
