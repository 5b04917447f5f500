"""The comparison of a transcript with the output of commands."""

import pytest

from tests.rig.transcript import compare

SHOWN = (
    "run ab12cd34 of my-project-6252 finished: loss 0.5, 0.1 s",
    "…",
    "page    http://127.0.0.1:4711/acme/ab12cd34",
)
SAID = """\
something else
run zz99yy88 of my-project-00ff finished: loss 0.5, 12.0 s
page  http://10.0.0.1:80/acme/zz99yy88
"""


def test_an_id_of_the_day_may_be_all_letters_or_all_digits() -> None:
    for real in ("hdhfsyhy", "12345678"):
        compare(SHOWN, SAID.replace("zz99yy88", real), {})


def test_names_stand_for_those_of_the_day() -> None:
    known: dict[str, str] = {}

    compare(SHOWN, SAID, known)

    assert known == {
        "ab12cd34": "zz99yy88",
        "my-project-6252": "my-project-00ff",
        "http://127.0.0.1:4711": "http://10.0.0.1:80",
    }


@pytest.mark.parametrize(
    ("shown", "said", "why"),
    [
        (SHOWN, SAID.replace("0.5", "0.6"), "not said: run ab12cd34"),
        (SHOWN, SAID.replace("acme/zz99yy88", "acme/zz99yy89"), "not said: page"),
        (SHOWN[:1] + SHOWN[2:], SAID, r"not shown: \['something else'\]"),
        (("one line",), "", "not said: one line"),
    ],
)
def test_what_differs_is_named(shown: tuple[str, ...], said: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        compare(shown, said, {})
