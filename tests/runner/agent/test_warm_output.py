"""What an import prints and warns of is the same, cold and warm."""

from pathlib import Path

import pytest

from tests.runner.agent.twice import run_twice

pytestmark = pytest.mark.slow  # two agents, each with a run

LOUD = """
import os, sys, warnings
print("hello from loud")
print("a word of loud", file=sys.stderr)
os.write(2, b"its library speaks\\n")
warnings.warn("loud is old", UserWarning, stacklevel=1)
warnings.warn("not for users", DeprecationWarning, stacklevel=1)
"""
QUIET = "import warnings\nwarnings.filterwarnings('ignore')\nimport loud\nprint('then')"
OF_MODULE = "import warnings\nwarnings.filterwarnings('ignore', module='loud')\nimport loud"
AS_ERROR = """
import warnings
warnings.simplefilter("error", UserWarning)
try:
    import loud
except UserWarning as error:
    print("raised", error)
"""
REDIRECTED = """
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as said:
    import loud
print(said.getvalue().upper())
"""
CAUGHT = """
import warnings
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always", UserWarning)
    import loud
print([(str(one.message), one.lineno) for one in seen if one.category is UserWarning])
"""


@pytest.mark.parametrize(
    "program",
    ["import loud\nprint('then')\nimport loud", QUIET, OF_MODULE, AS_ERROR, REDIRECTED, CAUGHT],
    ids=["plain", "quiet", "of_module", "as_error", "redirected", "caught"],
)
def test_an_import_says_what_it_says(tmp_path: Path, program: str) -> None:
    site = tmp_path / "env" / "site-packages"
    site.mkdir(parents=True)
    (site / "loud.py").write_text(LOUD)
    seen = []
    for _, out, err in run_twice(tmp_path, program, site=site):
        assert "stays out" not in err
        assert "`loud`" not in err
        words = [line for line in err.splitlines() if line.startswith("r1 | ")]
        seen.append((out, sorted(words)))

    assert seen[0] == seen[1]
    assert seen[0][0]
