"""What a person and a script read."""

import json
import math

import pytest

from runner.console import format_bytes, format_duration, report_error, table, to_json
from runner.errors import ExitCode, RunnerError


def test_json_is_valid_whatever_a_metric_was() -> None:
    text = to_json({"best": math.nan, "runs": [{"loss": math.inf}, {"loss": -math.inf}]})

    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name}"))

    assert read == {
        "schema": 1,
        "best": "NaN",
        "runs": [{"loss": "Infinity"}, {"loss": "-Infinity"}],
    }


def test_an_error_is_a_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    error = RunnerError("no such sweep", hint="`runner sweep list`", code=ExitCode.NOT_FOUND)

    report_error(error, as_json=False)

    assert capsys.readouterr().err == "error: no such sweep\nhint: `runner sweep list`\n"


def test_an_error_under_json_is_an_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(RunnerError("no such sweep", code=ExitCode.NOT_FOUND), as_json=True)

    shown = json.loads(capsys.readouterr().out)
    assert shown == {"schema": 1, "error": {"code": 3, "message": "no such sweep", "hint": None}}


def test_a_table_is_aligned_and_has_no_trailing_spaces() -> None:
    assert table(("GPU", "STATE"), [(0, "free"), (10, "")]) == "GPU  STATE\n0    free\n10"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1536, "1.5 KiB"), (76_500_000_000, "71.2 GiB")]
)
def test_bytes_have_units(count: int, shown: str) -> None:
    assert format_bytes(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(8.21, "8.2 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_have_units(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown
