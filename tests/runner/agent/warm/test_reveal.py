"""Hidden modules: each in an interpreter of its own, with packages that the test writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rig.command import ROOT

PACKAGES = {
    "base/__init__.py": "import os\nMADE = []\nLEVEL = os.environ.get('BASE_LEVEL')\n",
    "base/part.py": "MADE = object()\n",
    "top/__init__.py": "import base\nfrom base import part\nimport colorsys\n",
    "loud/__init__.py": (
        "import warnings, os\nwarnings.filterwarnings('ignore', 'of loud')\n"
        "os.environ['LOUD'] = '1'\nos.environ.pop('QUIET', None)\n"
    ),
}
BEGIN = """
import json, os, sys, warnings
from runner.agent.warm.reveal import Hidden
from runner.agent.warm.units import import_unit
given_up = []
def give_up(package, reason): given_up.append([package, reason])
def hide(*names, native=False):
    units = [import_unit(name) for name in names]
    for unit in units:
        unit.native = native
    hidden = Hidden(units, path=sys.path, environ=os.environ, give_up=give_up)
    hidden.hide()
    sys.meta_path.insert(0, hidden)
    return hidden
"""


def see(folder: Path, program: str, **environ: str) -> Any:
    """What a program leaves in `seen`."""
    for name, text in PACKAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", f"{BEGIN}{program}\njson.dump(seen, sys.stdout)"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_hidden_is_not_there_until_it_is_imported(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
hidden = hide("base", "top")
copies = hidden.modules
before = [name in sys.modules for name in ("base", "base.part", "top", "colorsys")]
import top
same = [sys.modules[name] is copies[name] for name in ("base", "base.part", "top", "colorsys")]
seen = [before, same, top.base is copies["base"], hidden in sys.meta_path, list(hidden.modules)]
""",
    )

    assert seen == [[False] * 4, [True] * 4, True, False, []]


def test_with_a_unit_all_before_it_come_and_none_after_it(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
hidden = hide("base", "loud", "top")
import loud
seen = [name in sys.modules for name in ("base", "loud", "top")] + [hidden in sys.meta_path]
""",
    )

    assert seen == [True, True, False, True]


def test_a_submodule_that_came_later_is_no_name_of_its_package(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
hide("base", "top")
import base
named = hasattr(base, "part")
from base import part
seen = [named, base.part is part, "top" in sys.modules]
""",
    )

    assert seen == [False, True, True]


def test_filters_and_variables_of_a_package_show_with_its_import(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
def look():
    named = [one[1].pattern for one in warnings.filters if one[1]]
    return ["of loud" in named, os.environ.get("LOUD"), os.environ.get("QUIET")]
hidden = hide("loud")
os.environ.pop("LOUD"); os.environ["QUIET"] = "yes"  # as a run's environment is made
first = look()
import loud
seen = [first, look()]
""",
        QUIET="yes",
    )

    assert seen == [[False, None, "yes"], [True, "1", None]]


SHADOW = """
os.mkdir("mine")
open("mine/base.py", "w").write("LEVEL = '3'")
sys.path.insert(0, os.path.abspath("mine"))
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [("os.environ['BASE_LEVEL'] = '3'", "reads `BASE_LEVEL`"), (SHADOW, "comes with `base`")],
)
@pytest.mark.parametrize("native", [False, True])
def test_a_copy_that_an_import_would_not_give_is_not_used(
    tmp_path: Path, change: str, reason: str, *, native: bool
) -> None:
    """Pure Python is imported afresh; what can be loaded only once is kept, and named."""
    kept, level, given_up = see(
        tmp_path,
        f"""
hidden = hide("base", "top", native={native})
copy = hidden.modules["base"]
{change}
import base
seen = [base is copy, base.LEVEL, given_up]
""",
    )

    assert (kept, level) == ((True, None) if native else (False, "3"))
    assert len(given_up) == int(native)
    for package, why in given_up:
        assert package == "base"
        assert why.startswith(reason)


def test_a_module_of_the_runs_own_keeps_its_place(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
import types
copies = hide("base", "top").modules
own = sys.modules["base.part"] = types.ModuleType("base.part")
import top
seen = [top is copies["top"], top.base is copies["base"], top.part is own]
""",
    )

    assert seen == [False, True, True]


def test_a_module_of_python_brings_no_package_with_it(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
hide("top")
import colorsys
seen = [colorsys.rgb_to_hsv(0, 0, 0)[0], "top" in sys.modules, "base" in sys.modules]
""",
    )

    assert seen == [0, False, False]


def test_a_module_looks_as_an_import_leaves_it(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        """
import importlib.util, importlib.resources
hidden = hide("base")
spec = importlib.util.find_spec("base")
found = [spec.origin, list(spec.submodule_search_locations or ())]
import base
seen = [found == [base.__file__, list(base.__path__)], base.__spec__.loader is base.__loader__,
        type(base.__loader__).__name__,
        (importlib.resources.files("base") / "part.py").read_text()]
importlib.reload(base)
""",
    )

    assert seen == [True, True, "SourceFileLoader", PACKAGES["base/part.py"]]
