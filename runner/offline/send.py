"""W&B's own sync, in processes of its own: what it says is kept, what it claims is not believed."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

IDLE_S = 900.0  # W&B's client tries for seven days
SLOWEST = 20_000.0  # bytes per second that a send may take
_TROUBLE = re.compile(r"error|fail|denied|refused|not found|40\d|50\d", re.IGNORECASE)


def send(
    logs: Sequence[Path], *, url: str, key: str, home: Path, environ: Mapping[str, str], lock: int
) -> str | None:
    """Send the staged logs; gives the last line that sounded like trouble.

    Args:
        logs: staged logs.
        url: the target.
        key: its key; it is in the process's environment only.
        home: a folder for what W&B's client writes beside.
        environ: the caller's environment.
        lock: an open file that the process holds as long as it lives.
    """
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.log"
    limit = IDLE_S + sum(log.stat().st_size for log in logs) / SLOWEST
    parent = str(os.getpid())
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "runner.offline.worker", parent, *map(str, logs)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=_environment(environ, url, key, home),
            cwd=home,
            pass_fds=(lock,),
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
    return _trouble(output.read_text("utf-8", "replace"))


def _environment(environ: Mapping[str, str], url: str, key: str, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if not name.startswith("WANDB")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": key,
        "WANDB_DIR": str(home),
        "WANDB_DATA_DIR": str(home),
        "WANDB_CONFIG_DIR": str(home),
        "WANDB_ERROR_REPORTING": "false",
    }


def _trouble(output: str) -> str | None:
    lines = [line.removeprefix("wandb: ").strip() for line in output.splitlines()]
    return next((line for line in reversed(lines) if _TROUBLE.search(line)), None)
