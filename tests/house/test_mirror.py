"""Tests are where their subject is: `tests/runner/` has the packages of `runner/`."""

from pathlib import Path

from tests.house.files import ROOT

TESTS, PRODUCT = Path(ROOT, "tests", "runner"), Path(ROOT, "runner")
MORE = {
    "docs",  # claims of the pages
    "product",  # whole sessions in a project of another author
    "records",  # files of earlier versions
}


def test_every_folder_of_tests_has_a_package() -> None:
    folders = {one.parent.name for one in TESTS.glob("*/*") if one.parent.name[0] not in "._"}
    packages = {one.parent.name for one in PRODUCT.glob("*/__init__.py")}

    assert folders - packages == MORE


def test_no_test_stands_beside_the_folders() -> None:
    assert {one.name for one in TESTS.glob("test_*.py")} == set()
