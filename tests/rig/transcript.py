"""The transcripts of README and docs: tests type their commands and compare what they print.

IDs, fleet names, addresses and times in the output change from day to day. A name on the page
matches a name of today, and from then on the same one, in later lines and later commands. `…`
matches any text; on a line of its own, any lines. Lines match in any order: two agents do not run
in step.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = {  # parts that change from day to day, on the page and in the output
    "gpu": r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "agent": r"\b[0-9a-f]{12}-0\b",
    "address": r"https?://(?:\d+\.){3}\d+:\d+",
    "fleet": r"my-project-[0-9a-f]{4}",
    "id": r"\b(?=\d*[a-z])(?=[a-z]*\d)[a-z0-9]{8}\b",
}
ID = r"\b[a-z0-9]{8}\b"  # an ID may be all letters; on a page that could be a word
TIMES = r"\b(?:\d+\.\d s|\d+ min \d\d s)\b"
SIZES = r"\b(?:\d+ B|\d+\.\d [KMGT]iB)\b"
_NAMED = re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in NAMES.items()))
_PARTS = re.compile(f"{_NAMED.pattern}|{TIMES}|{SIZES}|…| {{2,}}")


@dataclass(frozen=True, slots=True)
class Step:
    """A command and the lines that it shows."""

    command: str
    shown: tuple[str, ...]


def read_steps(page: str, section: str | None = None) -> Iterator[Step]:
    """The commands on a page or in a section of it, each with the lines that it prints."""
    text = (ROOT / page).read_text("utf-8")
    if section is not None:
        _, found, text = text.partition(f"\n## {section}\n")
        assert found, f"{page} has no section {section}"
        text = text.partition("\n## ")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    typed = "\n".join(block for language, block in blocks if not language)
    for part in re.split(r"^\$ ", typed, flags=re.MULTILINE)[1:]:
        command, *shown = part.strip().splitlines()
        yield Step(command, tuple(shown))


@dataclass(slots=True)
class Shell:
    """A user in a folder, who types the commands of a transcript."""

    folder: Path
    environ: dict[str, str]
    known: dict[str, str] = field(default_factory=dict)  # name on the page → name of today

    def type(self, step: Step) -> str:
        """Carry out a step; its output must contain every line of the page.

        A command must end with 0, or with the code in a comment (`# …, exit 6`).
        """
        command = _NAMED.sub(lambda name: self.known.get(name[0], name[0]), step.command)
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                self.environ[name] = value
            return ""
        moves = "cd" in words
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{command}\npwd" if moves else command],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        code = int(match[1]) if (match := re.search(r"#.*\bexit (\d+)", command)) else 0
        assert done.returncode == code, f"$ {command}\n{done.returncode}\n{done.stdout}"
        said = done.stdout
        if moves:
            said, _, folder = said.rstrip("\n").rpartition("\n")
            self.folder = Path(folder)
        compare(step.shown, said, self.known)
        return said


def compare(shown: tuple[str, ...], said: str, known: dict[str, str]) -> None:
    """Find each line; adds new names to `known`."""
    left = [line.rstrip() for line in said.splitlines()]
    for line in shown:
        if line == "…":
            continue
        form, new = _to_form(line, known)
        found = next((match for one in left if (match := form.fullmatch(one))), None)
        assert found, f"not said: {line}\n{said}"
        left.remove(found.string)
        known.update(zip(new, found.groups(), strict=True))
    assert "…" in shown or not left, f"not shown: {left}"


def _to_form(line: str, known: Mapping[str, str]) -> tuple[re.Pattern[str], list[str]]:
    """A pattern for a line of the page, and the names of its groups."""
    form, new, at = "", [], 0
    for part in _PARTS.finditer(line):
        form += re.escape(line[at : part.start()])
        at = part.end()
        if part.lastgroup and part[0] in known:
            form += re.escape(known[part[0]])
        elif part.lastgroup:
            form += f"({ID if part.lastgroup == 'id' else NAMES[part.lastgroup]})"
            new.append(part[0])
        else:
            measure = SIZES if part[0].endswith("B") else TIMES
            form += {"…": ".*", " ": r"\s+"}.get(part[0][0], measure)
    return re.compile(form + re.escape(line[at:])), new
