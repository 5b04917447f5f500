"""The search engines. Each module here names itself in an `ENGINE`; a new one is found by its file.

None of them loads a slow library before it is asked for a point.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from runner.search.engine import SearchEngine
from runner.sweepfile.model import Method


@cache
def find_engines() -> Mapping[Method, SearchEngine]:
    """Method of a sweep file → the engine that carries it out."""
    names = (one.name for one in pkgutil.iter_modules(__path__))
    found = (importlib.import_module(f"{__name__}.{name}").ENGINE for name in names)
    return {engine.method: engine for engine in found}


def engine_of(method: Method) -> SearchEngine:
    """The engine of a checked sweep file's method."""
    return find_engines()[method]
