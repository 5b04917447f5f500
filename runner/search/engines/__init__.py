"""The search engines. Each module here defines an `ENGINE`; a new module is found by its file.

They load slow libraries only when asked for a point.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from runner.search.engine import SearchEngine
from runner.sweepfile.model import Method


@cache
def find_engines() -> Mapping[Method, SearchEngine]:
    """Method of a sweep file → its engine."""
    names = (one.name for one in pkgutil.iter_modules(__path__))
    found = (importlib.import_module(f"{__name__}.{name}").ENGINE for name in names)
    return {engine.method: engine for engine in found}


def engine_of(method: Method) -> SearchEngine:
    """The engine for the method of a checked sweep file."""
    return find_engines()[method]
