"""The files of the repository."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = (".venv", "build", "dist")


def list_python() -> list[str]:
    """The Python files that git knows, or would add, by their paths below `ROOT`."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.py"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    found = done.stdout.split() if done.returncode == 0 else _walk()
    return sorted({file for file in found if Path(ROOT, file).is_file()})


def _walk() -> list[str]:
    """List files in an unpacked archive, without git."""
    found = (file.relative_to(ROOT) for file in ROOT.rglob("*.py"))
    return [str(file) for file in found if file.parts[0] not in _LEFT_OUT]
