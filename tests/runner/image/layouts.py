"""Images of users: the same Python and wandb in other places, made in a second each."""

import os
import subprocess
from dataclasses import dataclass, field

from tests.rig.engine import TINY, TestEngine

SITE = "lib/python3.11/site-packages"
PACKAGES = "/packages"  # beside no interpreter: each layout links them to its own


@dataclass(slots=True)
class Shelf:
    """Images of one test module, and their removal."""

    engine: TestEngine
    base: str = ""
    tags: list[str] = field(default_factory=list)

    def build(self, name: str, dockerfile: str, *arguments: str) -> str:
        """Build an image from the lines of a Dockerfile; its tag."""
        tag = f"runner-test/{name}-{os.getpid()}"
        done = subprocess.run(
            ["docker", "build", "--quiet", "--tag", tag, *arguments, "-"],
            input=dockerfile.replace("@base", self.base),
            env=os.environ | self.engine.env,
            text=True,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        self.tags.append(tag)
        return tag

    def remove(self) -> None:
        """Remove all images."""
        self.engine.docker("rmi", "--force", *reversed(self.tags), check=False)


def make_shelf(engine: TestEngine, plain: str | None = None) -> Shelf:
    """A shelf with a base that has Python 3.11, and wandb where no Python looks.

    Args:
        engine: makes the images.
        plain: an image that `runner build` made, for its packages; without it, wandb is one line.
    """
    shelf = Shelf(engine)
    packages = f"RUN mkdir {PACKAGES} && echo '__version__ = \"0.31.0\"' > {PACKAGES}/wandb.py"
    if plain:
        packages = f"COPY --from={plain} /opt/venv/{SITE} {PACKAGES}"
    shelf.base = shelf.build("layout-base", f"FROM {TINY}\n{packages}\n")
    return shelf


def environment(prefix: str, *, packages: bool = True, conda: bool = False) -> str:
    """The Dockerfile's line that makes an environment as venv or conda lays it out."""
    words = [
        f"mkdir -p {prefix}/bin {prefix}/lib/python3.11",
        f"ln -s /usr/bin/python3 {prefix}/bin/python",
        f"echo home = /usr/bin > {prefix}/pyvenv.cfg",
    ]
    words += [f"ln -s {PACKAGES} {prefix}/{SITE}"] if packages else [f"mkdir {prefix}/{SITE}"]
    words += [f"mkdir {prefix}/conda-meta"] if conda else []
    return "RUN " + " && ".join(words)
