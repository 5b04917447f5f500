"""The files that a Python package consists of."""

from pathlib import Path


def list_package_files(package: Path) -> list[Path]:
    """The files of a package and of those inside it: code and data, no bytecode, nothing hidden."""
    found = (file for file in package.rglob("*") if file.is_file() and file.suffix != ".pyc")
    hidden = (".", "__pycache__")
    return sorted(
        file
        for file in found
        if not any(part.startswith(hidden) for part in file.relative_to(package).parts)
    )
