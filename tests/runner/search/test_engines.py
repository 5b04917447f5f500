"""Search engines name themselves, and cost nothing until one is asked."""

import subprocess
import sys
from typing import get_args

from runner.search.engines import engine_of, find_engines
from runner.sweepfile.model import Method

WITHOUT_OPTUNA = """
import sys
from runner.search.engines import find_engines
print(sorted(find_engines()), "optuna" in sys.modules)
"""


def test_every_method_has_an_engine_with_a_name_of_its_own() -> None:
    engines = find_engines()

    assert engines.keys() == set(get_args(Method))
    assert len({one.name for one in engines.values()}) == len(engines)
    assert [engine_of(method).method for method in engines] == [*engines]


def test_no_slow_library_is_loaded_to_list_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPTUNA], capture_output=True, text=True, check=True
    )

    assert done.stdout == "['bayes', 'grid', 'random'] False\n"
