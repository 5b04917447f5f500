"""Make the containers of `runner run`: the command's own, and placeholders for its GPUs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.agent.contract import labels
from runner.agent.contract.commands import ONE_COMMAND
from runner.engine.types import ContainerSpec, GpuAccess
from runner.fleet.selection import Slot
from runner.launchers.docker.container_spec import (
    Folders,
    Host,
    Launch,
    make_environment,
    make_labels,
    make_spec,
    mount_lease,
)


@dataclass(frozen=True, slots=True)
class Streams:
    """What a command's container has of the caller's terminal, and of the host's ports."""

    attached: bool = False
    tty: bool = False
    ports: tuple[int, ...] = ()  # on 127.0.0.1


def make_command_spec(
    launch: Launch,
    slots: Sequence[Slot],
    folders: Folders,
    host: Host,
    access: GpuAccess | None,
    *,
    streams: Streams,
) -> ContainerSpec:
    """The container of one command on all of these slots. It is never started again by itself.

    Args:
        launch: with the command.
        slots: GPUs or MIG slices, or CPU slots.
        folders: the host folders of its mounts.
        host: the engine's machine.
        access: the way to give the container its GPUs; None for CPU slots.
        streams: what it has of a terminal and of the host's ports.
    """
    spec = make_spec(launch, slots[0], folders, host, access)
    return replace(
        spec,
        command=(*spec.command, ONE_COMMAND),
        environment=make_environment(launch, slots, folders.agent, spec.cpus),
        labels=make_labels(launch, slots),
        mounts=(*(mount for slot in slots[1:] for mount in mount_lease(slot)), *spec.mounts),
        gpus=() if slots[0].is_cpu else tuple(slot.uuid for slot in slots),
        restart="no",
        ports={f"{port}/tcp": ("127.0.0.1", port) for port in streams.ports},
        attached=streams.attached,
        tty=streams.tty,
    )


def make_placeholder(launch: Launch, slot: Slot, main: str) -> ContainerSpec:
    """A container that is never started: its name keeps a GPU for the container `main`."""
    return ContainerSpec(
        name=labels.container_name(slot.agent_name(launch.fleet)),
        image=launch.image,
        command=(launch.interpreter,),
        labels={
            labels.ROLE: labels.AGENT_ROLE,
            labels.FLEET: launch.fleet,
            labels.SLOT: slot.uuid,
            labels.KEEPS_FOR: main,
            labels.IMAGE: launch.image,
            labels.SCHEMA: labels.SCHEMA_VERSION,
        },
        network="none",
    )
