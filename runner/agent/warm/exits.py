"""Which native libraries may be left as they are when a run's process ends."""

import re
from collections.abc import Iterable

QUIET_PACKAGES = frozenset(
    {
        *(
            "PIL",
            "charset_normalizer",
            "cryptography",
            "google",
            "markupsafe",
            "ml_dtypes",
            "msgpack",
        ),
        *(
            "numpy",
            "pandas",
            "pillow",
            "psutil",
            "pydantic_core",
            "regex",
            "safetensors",
            "scipy",
            "xxhash",
        ),
        *(
            "scikit_learn",
            "sklearn",
            "tokenizers",
            "torch",
            "torchvision",
            "wandb",
            "yaml",
            "nvidia",
        ),
        *(
            "triton",
            "functorch",
            "torchgen",
            "matplotlib",
            "contourpy",
            "kiwisolver",
            "sentencepiece",
        ),
    }
)
"""Packages whose native code has nothing to write when a process ends; torch takes 0.15 s of a core
to free what the kernel frees anyway. HDF5, MPI and their like are not here: they close files."""
_SYSTEM = re.compile(
    r"(lib(c|m|dl|rt|pthread|util|resolv|crypt|nss_\w+|stdc\+\+|gcc_s|gomp|z|bz2|lzma|zstd|expat|ffi|"
    r"ssl|crypto|sqlite3|uuid|readline|ncursesw?|tinfow?|python3[.\d]*|cuda|nvidia-ml)|ld-linux.*)"
    r"([-.].*)?\.so([.\d]*)"
)


def find_loud(libraries: Iterable[str], installed: Iterable[str]) -> "str | None":
    """The first library that may have something to do at the end.

    Args:
        libraries: paths of all that are in memory.
        installed: folders of the standard library and of packages.
    """
    roots = sorted(installed, key=len, reverse=True)
    for path in sorted(libraries):
        name = path.rpartition("/")[2]
        root = next((one for one in roots if path.startswith(f"{one}/")), None)
        if root is None:
            if not _SYSTEM.fullmatch(name):
                return path
        elif path.startswith(f"{root}/lib-dynload/"):
            continue
        else:
            package = re.split(r"[./]", path[len(root) + 1 :])[0].removeprefix("_")
            if package not in QUIET_PACKAGES:
                return path
    return None
