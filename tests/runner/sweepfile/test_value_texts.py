"""Values whose text in an argument means something else are named, with what carries them."""

import json

import pytest

from runner.sweepfile import Diagnostic, read_sweep

HYDRA = 'command: ["${env}", "${interpreter}", "${program}", "${args_override_hydra}"]\n'
APPEND = HYDRA.replace("override", "append")
PLAIN = HYDRA.replace("args_override_hydra", "args_no_hyphens")
SPLIT = HYDRA.replace("args_override_hydra", "args_no_equals")
BARE = HYDRA.replace("args_override_hydra", "args_no_boolean_flags")
JSON = HYDRA.replace("args_override_hydra", "args_json_file")
NONE = 'command: ["${env}", "${interpreter}", "${program}"]\n'


def find_warnings(parameter: str, command: str = "") -> list[Diagnostic]:
    text = f"program: train.py\nmethod: random\n{command}parameters:\n  x: {parameter}\n"
    sweep, findings = read_sweep(text)
    assert sweep is not None, findings
    return findings


@pytest.mark.parametrize("command", ["", HYDRA, APPEND, PLAIN, SPLIT, BARE])
@pytest.mark.parametrize(
    "parameter", ["{value: null}", "{values: [adam, null]}", "{values: [[1, null], [2]]}"]
)
def test_null_as_an_argument_is_named(parameter: str, command: str) -> None:
    (warning,) = find_warnings(parameter, command)

    assert (warning.key, warning.line) == ("parameters.x", 5 if command else 4)
    assert "`None`" in warning.message
    assert "${args_json_file}" in str(warning.hint)


@pytest.mark.parametrize("command", [JSON, NONE])
def test_null_is_no_matter_where_no_argument_carries_it(command: str) -> None:
    assert find_warnings("{values: [null, 'a,b', {k: v}]}", command) == []


# each was given to hydra-core 1.3.8: refused, or another value than the text
@pytest.mark.parametrize(
    "text",
    ["a,b", "it's", 'say "x"', "a=b", "a;b", "#x", "é", " lead", "trail ", "a(b)", "x?y=1", "a\nb"],
)
def test_texts_that_break_hydra_get_their_quoted_form(text: str) -> None:
    (warning,) = find_warnings(f"{{value: {json.dumps(text)}}}", HYDRA)

    assert "Hydra" in warning.message
    written = str(warning.hint).split("`")[1]
    assert find_warnings(f"{{value: {written}}}", HYDRA) == []


@pytest.mark.parametrize(
    "text",
    [
        "adam",
        "two words",
        "path/to.x",
        "a:b",
        "a-b",
        "1e-05",
        "${model.lr}",
        "'a,b'",
        '"a b"',
        "[a]",
    ],
)
def test_texts_that_hydra_reads_as_they_are_go_through(text: str) -> None:
    assert find_warnings(f"{{value: {json.dumps(text)}}}", HYDRA) == []
    assert find_warnings(f"{{value: {json.dumps(text)}}}") == []


def test_a_mapping_is_not_in_hydras_syntax() -> None:
    (value,) = find_warnings("{value: {k: v}}", APPEND)
    (group,) = find_warnings("{parameters: {lr: {min: 0.1, max: 0.2}}}", HYDRA)

    assert "mapping" in value.message
    assert "mapping" in group.message


def test_a_text_that_looks_like_an_option_is_named_where_it_stands_alone() -> None:
    (warning,) = find_warnings("{values: ['-0.5', -x]}", SPLIT)

    assert "`-x`" in warning.message
    assert find_warnings("{values: ['-0.5', -x]}") == []


def test_one_warning_tells_of_a_parameter() -> None:
    assert len(find_warnings("{values: ['a,b', 'c,d', null]}", HYDRA)) == 1
