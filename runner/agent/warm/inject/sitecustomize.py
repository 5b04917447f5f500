"""Python imports this before it reads its program; the warm parent lives inside this import.

It leaves nothing of itself behind. A `sitecustomize` of the user's runs first, as it would.
"""

import sys


def _import_users() -> bool:
    """Whether there is a `sitecustomize` besides this one; it is imported then."""
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # of the image, if it has one
    except ImportError as error:
        sys.modules["sitecustomize"] = ours
        if error.name != "sitecustomize":
            raise
        return False
    return sitecustomize is not ours


def _live() -> None:
    """Be the parent; returns in a child that is to become a run."""
    before = dict(sys.modules)
    if not _HAS_OTHER:
        del before["sitecustomize"]
    sys.path.insert(0, _ROOT)
    from runner.agent.warm.parent import live

    sys.path.remove(_ROOT)
    sys.path_importer_cache.pop(_ROOT, None)
    for name in [one for one in sys.modules if one.partition(".")[0] == "runner"]:
        del sys.modules[name]  # a program may have a package of this name
    live(before)


_HERE = __file__.rpartition("/")[0]
_ROOT = _HERE
for _ in range(4):
    _ROOT = _ROOT.rpartition("/")[0]
sys.path.remove(_HERE)
sys.path_importer_cache.pop(_HERE, None)
_HAS_OTHER = _import_users()
try:
    _live()
except BaseException as error:  # noqa: BLE001 - else Python would go on to the program
    import os

    os.write(2, f"{type(error).__name__}: {error}\n".encode("utf-8", "replace"))
    os._exit(70)
if not _HAS_OTHER:
    raise ImportError(name="sitecustomize")  # `site` takes it as: there is none
