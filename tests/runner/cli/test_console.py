"""What a person and a script read."""

import json
import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from runner.console import (
    data,
    format_bytes,
    format_duration,
    log_line,
    note,
    report_error,
    table,
    to_json,
)
from runner.errors import ExitCode, RunnerError


def test_json_is_valid_whatever_a_metric_was() -> None:
    text = to_json({"best": math.nan, "runs": [{"loss": math.inf}, {"loss": -math.inf}]})

    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name}"))

    assert read == {
        "schema": 1,
        "best": "NaN",
        "runs": [{"loss": "Infinity"}, {"loss": "-Infinity"}],
    }


@pytest.mark.parametrize("write", [note, data, lambda text: log_line("a", text)])
def test_lines_of_several_threads_stay_whole(
    write: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Agents are started side by side, and each start is told as it happens."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, ["one line"] * 2000))
    finally:
        sys.setswitchinterval(before)

    shown = "".join(capfd.readouterr()).splitlines()
    assert {line.removeprefix("a | ") for line in shown} == {"one line"}
    assert len(shown) == 2000


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


HOSTILE = "a\x1b[2J\x1b]0;title\x07b\x9b31m\x00\x7f\udcff\u202eevil\u2066\nerror: forged\r\tc"


def test_hidden_characters_are_written_out_and_lines_are_not_forged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = r"a\x1b[2J\x1b]0;title\x07b\x9b31m\x00\x7f\udcff\u202eevil\u2066\nerror: forged\x0d\tc"

    note(HOSTILE)
    data(table(("NAME", "X"), [(HOSTILE, 1)]))
    report_error(RunnerError(HOSTILE, hint=HOSTILE), as_json=False)

    out, err = capsys.readouterr()
    assert out.splitlines()[1] == f"{shown}  1"
    first, second = shown.split(r"\n")
    assert err.splitlines() == [shown, f"error: {first}", f"       {second}", f"hint: {shown}"]


def test_json_says_the_same_and_shows_nothing_hidden() -> None:
    text = to_json({"name": HOSTILE})

    assert json.loads(text)["name"] == HOSTILE
    assert not set(text) & set("\x1b\x9b\x7f\udcff\u202e\u2066\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[31mleft on", "\x1b[31mleft on\x1b[0m"),
        ("a\x1b[2Jb\x1b[10;5Hc\x1b[?1049hd", "abcd"),
        ("a\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c", "abc"),
        ("a\x1bP1$r\x1b\\b\x1b_x\x1b\\c\x1b(0d\x1bce", "abcde"),
        ("a\x9b2Jb\x9d0;t\x9cc\x90d", "abc"),
        ("a\x00b\x08c\x7fd\u202ee\udcfff\tg", "abcdef\tg"),
        ("cut \x1b[", "cut "),
        ("cut \x1b]0;never ends", "cut "),
    ],
)
def test_a_log_keeps_its_colors_and_loses_all_other_sequences(
    capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    log_line("agent", text)

    assert capsys.readouterr().out == f"agent | {shown}\n"
