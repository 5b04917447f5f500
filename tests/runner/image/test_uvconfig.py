"""uv's settings of this user, added to pip's for a build."""

from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.image.pipconfig import PipSettings, add_uv_settings
from runner.image.uvconfig import UvSettings, read_uv_settings

FILE = """
index-url = "https://old.example.org/"
find-links = ["https://w.example.org/", "/srv/none"]
allow-insecure-host = ["h.example.org"]
[[index]]
name = "lab-1"
url = "https://lab.example.org/simple"
[[index]]
name = "main"
url = "https://main.example.org/simple"
default = true
[[index]]
name = "torch"
url = "https://torch.example.org/"
explicit = true
[pip]
extra-index-url = ["https://pip.example.org/"]
"""


def test_the_file_counts_and_explicit_indexes_do_not(tmp_path: Path) -> None:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").write_text(FILE)
    keys = {"UV_INDEX_LAB_1_USERNAME": "me", "UV_INDEX_LAB_1_PASSWORD": "p@ss"}

    found = read_uv_settings({"XDG_CONFIG_HOME": str(tmp_path), **keys})

    assert found == UvSettings(
        "https://main.example.org/simple",
        ("https://me:p%40ss@lab.example.org/simple", "https://pip.example.org/"),
        ("https://w.example.org/", "/srv/none"),
        ("h.example.org",),
    )


@pytest.mark.parametrize(
    ("environ", "default", "indexes"),
    [
        ({}, None, ()),
        ({"UV_INDEX_URL": "https://a/"}, "https://a/", ()),
        ({"UV_DEFAULT_INDEX": "x=https://b/", "UV_INDEX_URL": "https://a/"}, "https://b/", ()),
        (
            {"UV_INDEX": "lab=https://c/ https://d/", "UV_EXTRA_INDEX_URL": "https://e/"},
            None,
            ("https://c/", "https://d/", "https://e/"),
        ),
    ],
)
def test_variables_count(
    tmp_path: Path, environ: dict[str, str], default: str | None, indexes: tuple[str, ...]
) -> None:
    found = read_uv_settings({"HOME": str(tmp_path), **environ})

    assert (found.default, found.indexes) == (default, indexes)


def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text("[")

    with pytest.raises(RunnerError, match=r"uv\.toml` is not valid TOML"):
        read_uv_settings({"HOME": str(tmp_path)})


def test_uvs_first_index_goes_first_unless_pip_has_several(tmp_path: Path) -> None:
    uv = UvSettings("https://main/", ("https://lab/", "file:///srv/x"), (str(tmp_path), "/none"))

    alone = add_uv_settings(PipSettings(), uv)
    both = add_uv_settings(PipSettings("https://pip/", ("https://more/",)), uv)

    assert alone.to_uv() == ('index-url = "https://main/"\nextra-index-url = ["https://lab/"]\n')
    assert (alone.wheels, alone.left_out) == (tmp_path, ("file:///srv/x",))
    assert both.extra_index_urls == ("https://lab/", "https://more/")
    assert "unsafe-best-match" in both.to_uv()
