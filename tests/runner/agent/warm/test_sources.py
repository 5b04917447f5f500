"""What the text of a program says, without running it."""

import os
from pathlib import Path

import pytest

from runner.agent.warm.sources import Source, find_module_file, read_sources


def read(folder: Path, text: str, **files: str) -> Source:
    for name, content in {"train.py": text, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return read_sources([str(folder / "train.py")], [str(folder)])


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("import numpy\nimport torch.nn as nn, yaml", ["numpy", "torch.nn", "yaml"]),
        ("from torch import nn\nfrom torch import optim", ["torch"]),
        ("try:\n    import apex\nexcept ImportError:\n    import later", ["apex"]),
        ("with a():\n    import inside", ["inside"]),
        ("if x:\n    import one\nelif y:\n    import two\nelse:\n    import three", None),
        ("def main():\n    import late\nclass A:\n    import inner", []),
        ("import typing\nif typing.TYPE_CHECKING:\n    import heavy", ["typing"]),
        ("if not TYPE_CHECKING:\n    import heavy", []),
        ("import a\nimport a", ["a"]),
        ("this is not Python", []),
        ("import x\n" + "(" * 5000, []),
        ("\0", []),
    ],
)
def test_imports_of_the_top_level_are_found(
    tmp_path: Path, text: str, imports: list[str] | None
) -> None:
    wanted = ["one", "two", "three"] if imports is None else imports

    assert read(tmp_path, text).imports == wanted


def test_modules_of_the_project_are_read_in_their_turn(tmp_path: Path) -> None:
    """By absolute and relative names, each once, in circles too."""
    found = read(
        tmp_path,
        "import pack.model\nfrom pack import data\nimport single",
        **{
            "pack/__init__.py": "import numpy",
            "pack/model.py": "from . import layers\nfrom .layers import Layer\nimport torch",
            "pack/layers.py": "from .. import nothing\nfrom pack import model\nimport einops",
            "pack/data.py": "import never_named",  # `from pack import data` names a package only
            "single.py": "import train, yaml",
        },
    )

    assert found.imports == ["numpy", "torch", "yaml", "einops"]
    assert [os.path.relpath(one, tmp_path) for one in found.files] == [
        *("train.py", "pack/__init__.py", "pack/model.py", "single.py", "pack/layers.py"),
    ]


@pytest.mark.parametrize(
    ("text", "sets", "defaults", "others"),
    [
        ("os.environ['A'] = '1'", {"A"}, set(), False),
        ("environ['A'] = b", {"A"}, set(), False),
        ("del os.environ['A']", {"A"}, set(), False),
        ("os.environ.setdefault('A', '1')", set(), {"A"}, False),
        ("os.environ.update({'A': 1, 'B': 2}, C=3)", {"A", "B", "C"}, set(), False),
        ("os.environ |= {'A': 1}", {"A"}, set(), False),
        ("os.environ.pop('A')", {"A"}, set(), False),
        ("os.putenv('A', '1')", {"A"}, set(), False),
        ("os.environ[name] = '1'", set(), set(), True),
        ("os.environ.update(given)", set(), set(), True),
        ("os.environ.update(**given)", set(), set(), True),
        ("os.environ.clear()", set(), set(), True),
        ("def f():\n    os.environ['A'] = '1'", {"A"}, set(), False),
        ("from dotenv import load_dotenv\nload_dotenv()", set(), set(), True),
        ("print(os.environ['A'], other['B'])\nother['C'] = 1", set(), set(), False),
    ],
)
def test_variables_that_a_program_sets_are_found(
    tmp_path: Path, text: str, sets: set[str], defaults: set[str], others: bool
) -> None:
    found = read(tmp_path, text)

    assert (found.sets, found.defaults, found.sets_others) == (sets, defaults, others)


def test_what_dash_m_runs_is_found_without_importing(tmp_path: Path) -> None:
    for name in ("pack/__init__.py", "pack/train.py", "pack/tool/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("1 / 0")
    roots = [str(tmp_path / "missing"), str(tmp_path)]

    assert find_module_file("pack.train", roots) == str(tmp_path / "pack/train.py")
    assert find_module_file("pack.tool", roots) == str(tmp_path / "pack/tool/__main__.py")
    assert find_module_file("pack.none", roots) is None


def test_a_program_of_very_many_files_is_read_in_part(tmp_path: Path) -> None:
    many = {f"m{n}.py": f"import m{n + 1}" for n in range(400)}

    assert len(read(tmp_path, "import m0", **many).files) == 300
