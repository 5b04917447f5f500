"""What runs leave behind for the parent: their users may have put anything there."""

import json
from pathlib import Path

import pytest

from runner.agent.warm.lessons import MAX_BYTES, Lessons, Reports


def write(file: Path, *records: object) -> Path:
    file.write_text("\n".join(map(json.dumps, records)))
    return file


def test_lessons_grow_and_keep_the_order_of_imports(tmp_path: Path) -> None:
    lessons = Lessons()
    first = write(tmp_path / "1", {"modules": ["b", "a"], "wandb": True})
    second = write(tmp_path / "2", {"modules": ["c", "a"]}, {"local": ["/x.py"], "wandb": False})

    assert lessons.read(first)
    assert not lessons.read(first)
    assert lessons.read(second)
    assert list(lessons.modules) == ["b", "a", "c"]
    assert list(lessons.local) == ["/x.py"]
    assert lessons.uses_wandb


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[1]\n3\nnull",
        b'{"modules": {"a": 1}, "local": 3, "avoid": [], "wandb": "yes"}',
        b'{"modules": [1, null, "a\\u0000b"], "avoid": 3}',
        b'{"modules": ["a"]}' + b" " * MAX_BYTES + b"x",
    ],
)
def test_a_damaged_report_teaches_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report").write_bytes(content)
    lessons = Lessons()

    known = lessons.read(tmp_path / "report")

    assert known == bool(lessons.modules) == content.startswith(b'{"modules": ["a"]}')
    assert not lessons.local
    assert not lessons.uses_wandb
    assert lessons.read_avoided(tmp_path / "report") == {}


def test_a_missing_report_teaches_nothing(tmp_path: Path) -> None:
    assert not Lessons().read(tmp_path / "missing")


def test_reasons_to_avoid_a_package_are_texts_of_bounded_length(tmp_path: Path) -> None:
    file = write(tmp_path / "report", {"avoid": {"a": "x" * 900}}, {"avoid": {"b": 3}})

    assert Lessons().read_avoided(file) == {"a": "x" * 500, "b": "3"}


def test_reports_have_a_folder_once_one_is_made_and_no_two_are_one() -> None:
    reports = Reports()
    reports.remove()
    paths = [reports.make_path() for _ in range(3)]

    assert len(set(paths)) == 3
    assert paths[0].parent.stat().st_mode & 0o777 == 0o700
    reports.remove()
    assert not paths[0].parent.exists()
