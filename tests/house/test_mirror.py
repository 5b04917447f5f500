"""A test is found where its subject is: `tests/runner/` has the packages of `runner/`."""

from pathlib import Path

from tests.house.files import ROOT

TESTS, PRODUCT = Path(ROOT, "tests", "runner"), Path(ROOT, "runner")
MORE = {
    "docs",  # what pages say
    "product",  # from the first command to the last, in somebody else's folder
    "records",  # what earlier versions left
}


def test_every_folder_of_tests_has_a_package() -> None:
    folders = {one.parent.name for one in TESTS.glob("*/*") if one.parent.name[0] not in "._"}
    packages = {one.parent.name for one in PRODUCT.glob("*/__init__.py")}

    assert folders - packages == MORE


def test_no_test_stands_beside_the_folders() -> None:
    assert {one.name for one in TESTS.glob("test_*.py")} == set()
