"""Commands: the project (init, build, config)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from runner import console
from runner.cli.consent import YesOption
from runner.guard.foreign_files import read_regular

Json = Annotated[bool, typer.Option("--json", help="One object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(init)
    app.command()(build)
    app.command()(config)


def init(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files only.")] = False,
) -> None:
    """Look at the folder and write `runner.toml`, and an example sweep where there is none."""
    from runner.project.find import find_project
    from runner.project.init import init_project

    for line in init_project(find_project(Path.cwd()), dry_run=dry_run):
        console.note(line)
    console.note("next: `runner build` (without GPUs: `runner build --cpu`)")


def build(
    cpu: Annotated[bool, typer.Option("--cpu", help="An image without CUDA.")] = False,
    cuda: Annotated[int | None, typer.Option(help="12 or 13, whatever this machine has.")] = None,
    base: Annotated[str | None, typer.Option(help="The base image.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag beside `runner-PROJECT:HASH`.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build every step anew.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print buildx's arguments.")] = False,
    as_json: Json = False,
    yes: YesOption = False,
) -> None:
    """Build the image of this project; nothing is done where nothing has changed."""
    from runner.image.build import build_image
    from runner.usecases.session import open_context

    if dry_run:
        options = {"cpu": cpu, "cuda": cuda, "base": base, "tag": tag, "no_cache": no_cache}
        _print_plan(yes=yes, as_json=as_json, **options)
        return
    context = open_context(create=True, yes=yes)
    image = build_image(
        context.engine(),
        context.project,
        context.settings,
        context.state,
        cpu=cpu,
        cuda=cuda,
        base=base,
        tag=tag,
        no_cache=no_cache,
        report=console.note,
    )
    _tag_for_compose(context, image)
    size = console.format_bytes(image.size_bytes)
    console.note(f"{'built' if image.built else 'nothing has changed:'} {image.tag} ({size})")
    _report_probe(context, image)
    if as_json:
        fields = {"tag": image.tag, "id": image.id, "kind": image.kind, "built": image.built}
        console.data(console.to_json({**fields, "size_bytes": image.size_bytes}))
    else:
        console.data(f"{image.tag}\n{image.id}")


def config(as_json: Json = False) -> None:
    """Show every setting with its origin."""
    from runner.backend.choice import choose_server
    from runner.backend.wandb_files import find_home
    from runner.cli.consent import load_checked
    from runner.project.find import find_project
    from runner.settings.load import KEYS, variable_of
    from runner.state import find_state

    project = find_project(Path.cwd())
    settings = load_checked(project)
    choice = choose_server(
        flag=None,
        environ=os.environ,
        settings=settings,
        home=find_home(),
        state=find_state(Path.cwd(), environ=os.environ, read_only=True),
    )
    found = {key: (_masked(settings.get(key)), _origin(settings.origins, key)) for key in KEYS}
    if not settings.server:
        found["server"] = (choice.url or "local", choice.why)
    rows: list[dict[str, Any]] = [
        {"key": key, "value": value, "origin": origin} for key, (value, origin) in found.items()
    ]
    if as_json:
        where = {"project": str(project.root), "program": project.program}
        console.data(console.to_json({**where, "settings": rows}))
        return
    console.note(f"project {project.root}")
    table = [
        (one["key"], _show(one["value"]), one["origin"], variable_of(one["key"])) for one in rows
    ]
    console.data(console.table(("SETTING", "VALUE", "ORIGIN", "VARIABLE"), table))


def _print_plan(*, yes: bool, as_json: bool, **options: Any) -> None:
    from runner.cli.consent import settle
    from runner.image.build import plan_build
    from runner.project.find import find_project
    from runner.settings.load import load_settings

    project = find_project(Path.cwd())
    settings = settle(
        lambda: load_settings(project, environ=os.environ),
        yes=yes,
        overridden=frozenset(),
        dry_run=True,
    )
    plan = plan_build(project, settings, **options)
    if as_json:
        console.data(console.to_json({"arguments": ["docker", *plan.arguments()]}))
    else:
        console.data(plan.as_text())


def _tag_for_compose(context: Any, image: Any) -> None:
    """The names that compose.yaml means without `.env`."""
    from runner.agent.contract.variables import COMPOSE_PROJECT
    from runner.compose.env_file import ENV_FILE, agent_tag, read_variable, server_tag
    from runner.compose.file import FILE
    from runner.image.server import ensure_server_image

    root, engine = context.project.root, context.engine()
    file, name = root / ENV_FILE, COMPOSE_PROJECT
    text = read_regular(file).decode("utf-8", errors="replace") if file.is_file() else ""
    environ = {name: os.environ.get(name) or read_variable(text, name) or ""}
    if tag := agent_tag(root.name, environ):
        engine.tag_image(image.id, tag)
    if (root / FILE).is_file() and (tag := server_tag(root.name, environ)):
        engine.tag_image(ensure_server_image(engine, report=console.note), tag)


def _report_probe(context: Any, image: Any) -> None:
    from runner.image.probe import probe_image

    probe = probe_image(context.engine(), image.id, context.state, ours=image.kind == "ours")
    python = ".".join(map(str, probe.python))
    console.note(f"Python {python}, wandb {probe.wandb or 'missing'}")
    if probe.wandb is None:
        console.note(
            f"warning: no run can log: {probe.wandb_error}; add `wandb` to the dependencies"
        )


def _origin(origins: Mapping[str, str], key: str) -> str:
    return origins.get(key, "default")


def _masked(value: object) -> object:
    """As JSON has it; keys and passwords in `[run] env` and `[image] args` are not shown."""
    if isinstance(value, tuple):
        return [str(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    secret = re.compile(r"key|token|secret|passw", re.IGNORECASE)
    return {name: "***" if secret.search(name) else text for name, text in value.items()}


def _show(value: object) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return str(value)
