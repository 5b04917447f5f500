"""`.env` as Compose reads it and `--env-file` as Docker does, by asking both."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from runner.project.env_files import read_docker_env, read_dotenv
from tests.rig.engine import TestEngine

CASES = {
    "plain": "V=a",
    "spaces": "V = a b \t",
    "export": "export V=a",
    "remark": "V=a # not this\nW=1",
    "hash": "V=a#b",
    "single": "V='a \"$A\" # b'",
    "double": "V=\"a 'b' # c\"",
    "escapes": 'V="a\\nb\\"c"',
    "no escapes": "V=a\\nb",
    "single keeps escapes": "V='a\\nb'",
    "behind quotes": "V='a' # b",
    "lines": 'V="a\nb"\nW=1',
    "empty": "V=",
    "commented": "# V=1\n  # V=3\n\nV=2",
    "twice": "V=1\nV=2",
    "like YAML": "V: a",
    "equals": "V=a=b=",
    "byte order mark": "\ufeffV=a",
    "carriage returns": "V=a\r\nW=b\r\n",
    "reference": "A=x\nV=$A/${A}y",
    "reference in quotes": 'A=x\nV="${A} $A"',
    "reference to the caller": "V=$CALLER",
    "the caller before the file": "CALLER=file\nV=${CALLER}",
    "unknown": "V=${NOWHERE}a",
    "default": "V=${NOWHERE:-d}${CALLER:-e}",
    "default of unset": "V=${NOWHERE-d}${CALLER-e}",
    "in its place": "V=${NOWHERE:+d}${CALLER:+e}",
    "dollars": "V=$$A",
    "another case": "v=1\nV=2",
}
COMPOSE = "services:\n  s:\n    image: x\n    environment:\n      V: '<${V}>'\n"
CALLER = {"CALLER": "me"}


@pytest.mark.engine
@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_compose_reads_the_same(text: str, tmp_path: Path, engine_env: TestEngine) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / ".env").write_text(text, newline="")
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=tmp_path,
        env={**os.environ, **engine_env.env, **CALLER},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(done.stdout)["services"]["s"]["environment"]["V"]

    assert f"<{read_dotenv(text, CALLER).get('V', '')}>" == shown.replace("$$", "$")


def test_docker_takes_what_stands_behind_the_equals_sign() -> None:
    text = "\ufeff# no\n\nA=1\n  B = 2\nC='3' # c\nD=\nCALLER\nNOWHERE\nE=x\r\n"
    with pytest.raises(ValueError, match="line 4: the name `B ` has white space"):
        read_docker_env(text, CALLER)

    found = read_docker_env(text.replace("B = 2", "B= 2 "), CALLER)

    expected = {"A": "1", "B": " 2 ", "C": "'3' # c", "D": "", "CALLER": "me", "E": "x"}
    assert found == expected
    with pytest.raises(ValueError, match="line 1 has no name"):
        read_docker_env("=1", {})
