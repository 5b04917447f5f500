"""Commands that only look, or only stop something, never bring up a server."""

from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import make_folder

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("ps",), 0, ""),
        (("logs",), 0, ""),
        (("stop",), 0, ""),
        (("server", "status"), 0, ""),
        (
            ("env",),
            3,
            "error: this folder's sweep server does not run\nhint: `runner sweep create`",
        ),
    ],
)
def test_no_server_is_built_or_started(
    engine_env: TestEngine,
    tmp_path: Path,
    fleet: str,
    command: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """Neither container nor network, nor a key for a server that is not there."""
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)

    _, told = folder.run(*command, code=code)

    assert said in told
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
    assert f"runner-{fleet}" not in engine_env.docker("network", "ls")
    assert not (folder.root / ".runner" / "secrets").exists()
