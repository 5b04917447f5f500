"""Name files with keys or passwords before they go into an image, by name and by content."""

import re
from pathlib import Path

from runner.image.context import Files, list_top

KEYS = frozenset(  # names of files with keys or passwords
    {
        *(".env", ".netrc", ".pypirc", ".git-credentials", "id_rsa", "id_ecdsa", "id_ed25519"),
        *("id_dsa", "kaggle.json", ".dockercfg", ".pgpass", ".htpasswd", ".vault-token"),
    }
)
IN_FOLDERS = frozenset(  # ends of paths
    {(".aws", "credentials"), (".docker", "config.json"), (".kube", "config")}
)
EXAMPLES = frozenset({"example", "sample", "template", "dist", "default", "defaults"})
_READ_BYTES = 16 << 10  # a private key is smaller
_PRIVATE = re.compile(
    # in a file of its own, or as text of a JSON file
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\n|\r?\n)\s*[A-Za-z0-9+/=:, -]{16}"
)


def name_keys(files: Files) -> list[str]:
    """Notes for files with keys that go into the image."""
    found = [one.path for one in files.files if one.link is None and _is_key(files.root, one.path)]
    way = "ignore it in `.gitignore` (without git in `.dockerignore`), or mount it"
    return [f"`{one}` looks like a key and goes into the image: {way}" for one in found]


def name_exposed_keys(context: Path) -> list[str]:
    """Notes for files with keys at the top of a build context that its .dockerignore lets in."""
    found = [one for one in list_top(context) if _is_key(context, one)]
    why = "is in the build context, so that `COPY . …` puts it into the image"
    return [f"`{one}` {why}: name it in `.dockerignore`" for one in found]


def _is_key(root: Path, path: str) -> bool:
    parts = Path(path).parts
    name = parts[-1]
    if name in KEYS or parts[-2:] in IN_FOLDERS:
        return True
    if name.startswith(".env.") and name.rpartition(".")[2] not in EXAMPLES:
        return True
    return _holds_private_key(root / path)


def _holds_private_key(file: Path) -> bool:
    """Whether a small file is a private key, or has one in it. What cannot be read is not one."""
    try:
        if file.stat().st_size > _READ_BYTES:
            return False
        return bool(_PRIVATE.search(file.read_bytes()))
    except OSError:
        return False
