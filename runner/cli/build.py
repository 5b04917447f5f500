"""Command: `build`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.cli.options import JsonOption, YesOption
from runner.cli.session import ask, open_session
from runner.image.probe import Probe
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.usecases import build as usecase
from runner.usecases.build import BuildRequest
from runner.usecases.consent import settle


def build(
    cpu: Annotated[bool, typer.Option("--cpu", help="An image without CUDA.")] = False,
    cuda: Annotated[
        int | None, typer.Option(help="CUDA 12 or 13, whatever GPUs this machine has.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The base image.")] = None,
    tag: Annotated[
        str | None, typer.Option(help="A second tag, besides `runner-PROJECT:HASH`.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Rebuild every step.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print buildx's arguments.")] = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Build this project's image if anything has changed."""
    request = BuildRequest(cpu=cpu, cuda=cuda, base=base, tag=tag, no_cache=no_cache)
    if dry_run:
        _show_plan(request, yes=yes, as_json=as_json)
        return
    image, probe = usecase.build(open_session(create=True, yes=yes), request)
    size = console.format_bytes(image.size_bytes)
    console.note(f"{'built' if image.built else 'nothing has changed:'} {image.tag} ({size})")
    _report_probe(probe)
    if as_json:
        fields = {"tag": image.tag, "id": image.id, "kind": image.kind, "built": image.built}
        console.data(console.to_json({**fields, "size_bytes": image.size_bytes}))
    else:
        console.data(f"{image.tag}\n{image.id}")


def _show_plan(request: BuildRequest, *, yes: bool, as_json: bool) -> None:
    project = find_project(Path.cwd())
    settings = settle(
        lambda: load_settings(project, environ=os.environ),
        yes=yes,
        overridden=frozenset(),
        environ=os.environ,
        remember=False,
        report=console.note,
        ask=ask,
    )
    plan = usecase.plan(project, settings, request, os.environ, console.note)
    if as_json:
        console.data(console.to_json({"arguments": ["docker", *plan.arguments()]}))
    else:
        console.data(plan.as_text())


def _report_probe(probe: Probe) -> None:
    python = ".".join(map(str, probe.python))
    console.note(f"Python {python}, wandb {probe.wandb}")
