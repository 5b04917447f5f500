"""What a container forbids is named when it ends a run."""

import pytest

from runner.agent.barriers import find_barrier


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("PermissionError: [Errno 13] Permission denied: '/app/out.txt'", "/app/out.txt"),
        ("OSError: [Errno 30] Read-only file system: '/usr/lib/x'", "/usr/lib/x"),
        ("PermissionError: [Errno 1] Operation not permitted: '/app/data'", "/app/data"),
        ("[rank0]: PermissionError: [Errno 13] Permission denied: '/app/a'", "/app/a"),
        ("cp: cannot create regular file '/opt/x': Read-only file system", "/opt/x"),
        ("PermissionError: [Errno 13] Permission denied: '/data/x'", None),  # the host's rights
        ("FileNotFoundError: [Errno 2] No such file or directory: '/app/x'", None),
        ("PermissionError: [Errno 13] Permission denied: 'relative.txt'", None),
        ("ValueError: no", None),
    ],
)
def test_the_path_is_named_if_it_is_the_images(line: str, path: str | None) -> None:
    found = find_barrier(["Traceback (most recent call last):", line, ""], lambda p: p == "/data")

    expected = f"its container cannot use `{path}` (`--relaxed` allows it)" if path else None
    assert found == expected


def test_a_handled_error_does_not_count() -> None:
    refused = "PermissionError: [Errno 13] Permission denied: '/app/out.txt'"

    assert find_barrier([refused, "", "During handling …", "ValueError: no"]) is None
    assert find_barrier([]) is None
