"""Command: `doctor`."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from runner import console
from runner.backend.choice import choose_server
from runner.backend.wandb_files import find_home
from runner.cli import shapes
from runner.cli.options import JsonOption
from runner.cli.session import load_checked
from runner.console.terminal import inline
from runner.doctor.examine import examine
from runner.doctor.findings import Finding, is_fit
from runner.engine.client import Engine
from runner.errors import ExitCode
from runner.state.find import find_state


def doctor(as_json: JsonOption = False) -> None:
    """Check this machine; each problem has a fix."""
    folder = Path.cwd()
    settings = load_checked()
    state = find_state(folder, environ=os.environ, read_only=True)
    choice = choose_server(
        flag=None, environ=os.environ, settings=settings, home=find_home(), state=state
    )
    findings = examine(
        settings,
        choice,
        state=state,
        folder=folder,
        connect=lambda: Engine.connect(settings.engine, state=state, environ=os.environ),
        environ=os.environ,
    )
    if as_json:
        fields = {"fit": is_fit(findings), "findings": shapes.findings(findings)}
        console.data(console.to_json(fields))
    else:
        console.data("\n".join(_lines(findings)))
    if not is_fit(findings):
        raise typer.Exit(int(ExitCode.UNFIT))


def _lines(findings: Sequence[Finding]) -> list[str]:
    width = max(len(one.check) for one in findings)
    lines: list[str] = []
    for one in findings:
        lines.append(inline(f"{one.status:<4}  {one.check:<{width}}  {one.detail}"))
        if one.fix:
            lines.append(inline(f"{'':<4}  {'':<{width}}  fix: {one.fix}"))
    return lines
