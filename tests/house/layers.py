"""The layers of `runner`, from import-linter's contract."""

import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path


class Layers:
    """The layers of import-linter's contract, the highest first."""

    def __init__(self, root: Path) -> None:
        text = (root / "pyproject.toml").read_text("utf-8")
        contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
        found = [one["layers"] for one in contracts if one.get("type") == "layers"]
        self._layers = [str(layer) for layer in found[0]]

    @cached_property
    def _heights(self) -> Mapping[str, int]:
        return {
            f"runner.{name.strip()}": -row
            for row, layer in enumerate(self._layers)
            for name in layer.split("|")
        }

    def height(self, module: str) -> int | None:
        """The layer of a module; None if it is in no layer."""
        while module:
            if module in self._heights:
                return self._heights[module]
            module = module.rpartition(".")[0]
        return None

    def goes_up(self, at_module: str, to_module: str) -> bool:
        """Whether a call from one to the other goes to a higher layer."""
        at, to = self.height(at_module), self.height(to_module)
        return at is not None and to is not None and to > at
