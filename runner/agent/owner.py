"""From root to the caller: Compose cannot name it, and `--relaxed` starts as root."""

import os
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path

from runner.agent.contract import variables
from runner.agent.refusals import RefusedError

# <linux/prctl.h>, <linux/capability.h>
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_RELAXED = (0, 1, 3)  # CHOWN, DAC_OVERRIDE, FOWNER, as in `limits.RELAXED`


def become_owner(folder: Path, written: Iterable[Path] = ()) -> None:
    """Go on as who owns `folder`, if that is not root; what was made for us as root goes along."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for path in written:
        if path.stat().st_uid == 0:  # the engine makes a folder that is missing
            os.chown(path, owner.st_uid, owner.st_gid)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def become_caller(environ: MutableMapping[str, str]) -> None:
    """With `--relaxed` go on as the caller; we and all that we start have its capabilities.

    Raises:
        RefusedError: the kernel does not allow it.
    """
    uid, _, gid = environ.pop(variables.BECOME, "").partition(":")
    if os.geteuid() != 0 or uid in ("", "0"):
        return
    import ctypes  # not every image has what it needs

    libc = ctypes.CDLL(None, use_errno=True)
    mask = sum(1 << number for number in _RELAXED)
    _call(libc.prctl, _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call(libc.capset, header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0))
    for number in _RELAXED:
        _call(libc.prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)


def _call(function: Callable[..., int], *arguments: object) -> None:
    import ctypes

    if function(*arguments) != 0:
        why = os.strerror(ctypes.get_errno())
        raise RefusedError(f"the engine's machine does not allow `--relaxed`: {why}")
