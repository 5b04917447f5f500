"""Which commands a warm parent can become."""

import pytest

from runner.agent.warm.command import Cold, PythonCommand, recognize


@pytest.mark.parametrize(
    ("words", "prefix", "arguments"),
    [
        ("python train.py --lr=1", "python train.py", "--lr=1"),
        ("/usr/bin/env python train.py", "/usr/bin/env python train.py", ""),
        ("env A=1 B= python3 -u a.py", "env A=1 B= python3 -u a.py", ""),
        ("/opt/x/python3.11 -uB -s a.py b", "/opt/x/python3.11 -u -B -s a.py", "b"),
        ("python -O -m pack.train -m x", "python -O -m pack.train", "-m x"),
        ("python -mpack.train x", "python -m pack.train", "x"),
        ("python -um pack x", "python -u -m pack", "x"),
        ("python -Werror -W once a.py", "python -W error -W once a.py", ""),
        ("python a.py -c x", "python a.py", "-c x"),
    ],
)
def test_a_file_or_module_of_python_is_recognized(words: str, prefix: str, arguments: str) -> None:
    found = recognize(words.split())

    assert isinstance(found, PythonCommand)
    assert " ".join(found.prefix) == prefix
    assert " ".join(found.arguments) == arguments


def test_what_env_sets_is_the_runs_and_no_word_of_its_own() -> None:
    found = recognize(["env", "A=1=2", "B=x\ny", "python", "a.py"])

    assert isinstance(found, PythonCommand)
    assert found.variables == {"A": "1=2", "B": "x\ny"}
    assert found.python_argv == ("python", "a.py")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "the command is empty"),
        ("env", "the command is empty"),
        ("env -i python a.py", "`env` has the option `-i`"),
        ("sh -c true", "`sh` is not named as a Python interpreter"),
        ("accelerate launch a.py", "`accelerate` is not named as a Python interpreter"),
        ("python2 a.py", "`python2` is not named as a Python interpreter"),
        ("python", "the interpreter reads its program from its input"),
        ("python -u -", "the interpreter reads its program from its input"),
        ("python -c pass", "the program is in the command line"),
        ("python -X dev a.py", "the interpreter has the option `-X`"),
        ("python -i a.py", "the interpreter has the option `-i`"),
        ("python --version", "the interpreter has the option `--version`"),
        ("python -m", "`-m` has no value"),
        ("python -S a.py", "with `-S` the interpreter does not take our code in"),
    ],
)
def test_all_else_starts_cold_and_says_why(words: str, reason: str) -> None:
    assert recognize(words.split()) == Cold(reason)


@pytest.mark.parametrize(
    ("words", "parent"),
    [
        ("python -E a.py", "python a.py"),
        ("python -uE -B a.py", "python -u -B a.py"),
        ("python -I -m pack", "python -s -P -m pack"),
        ("env A=1 PYTHONHASHSEED=3 python -E a.py", "env A=1 python a.py"),
    ],
)
def test_a_parent_of_a_closed_interpreter_has_no_variables_of_python_instead(
    words: str, parent: str
) -> None:
    found = recognize(words.split())

    assert isinstance(found, PythonCommand)
    assert " ".join(found.parent_argv) == parent
    assert found.parent_environ({"A": "1", "PYTHONPATH": "x"}) == {"A": "1"}
    assert " ".join(found.prefix) == words.replace("-uE", "-u -E")


def test_flags_that_no_option_of_the_parent_gives_are_set_in_it() -> None:
    flags = [
        recognize(["python", *words.split(), "a.py"]) for words in ("", "-E", "-I", "-E -I -E")
    ]

    assert [one.flags for one in flags if isinstance(one, PythonCommand)] == [
        (),
        ("ignore_environment",),
        ("ignore_environment", "isolated"),
        ("ignore_environment", "isolated"),
    ]
