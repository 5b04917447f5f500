"""Start one command on several GPUs, and remove what is left of it.

The engine arbitrates each GPU by the name of its agent, and a container has one name. A command's
container therefore comes with a placeholder for each GPU: a container that is never started, under
the name that an agent on this GPU would have. They are made in the order of UUIDs, after the
command's container exists and before it starts. A placeholder is alive as long as the container
that its label names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.agent.contract import labels
from runner.engine.client import Engine
from runner.engine.errors import GpuAccessError
from runner.engine.target import remember_access
from runner.engine.types import GpuAccess
from runner.fleet.agents import Agent
from runner.fleet.selection import Slot
from runner.launchers.docker.command_spec import Streams, make_command_spec, make_placeholder
from runner.launchers.docker.container_spec import Folders, Host, Launch
from runner.launchers.docker.observe import ROLE
from runner.launchers.docker.relaxed import relax
from runner.launchers.docker.start import find_ways, prepare_lease, rename_ended
from runner.state.folder import State


@dataclass(frozen=True, slots=True)
class CommandStarter:
    """Everything to start one command with."""

    engine: Engine
    state: State
    launch: Launch
    folders: Folders
    host: Host
    access: GpuAccess | None  # None: try each way until one works
    streams: Streams
    before_start: Callable[[str], None]  # is called with the ID of each container that is tried

    def start(self, slots: Sequence[Slot]) -> str:
        """Start the container with all of these slots; return its ID.

        Raises:
            NameTaken: another command has one of the GPUs; nothing of ours is left.
            RunnerError: it does not start; nothing of it is left.
        """
        gpus = sorted((slot for slot in slots if not slot.is_cpu), key=lambda slot: slot.uuid)
        for slot in gpus:
            prepare_lease(slot.uuid)
        rename_ended(self.engine, self.folders.agent)
        if not gpus:
            return self._try(slots, gpus, None)
        failures = []
        for way in find_ways(self.engine, self.state, self.access, gpus[0].uuid):
            try:
                identity = self._try(slots, gpus, way)
            except GpuAccessError as error:
                failures.append(error)
            else:
                remember_access(self.state, way)
                return identity
        raise failures[0]

    def _try(self, slots: Sequence[Slot], gpus: Sequence[Slot], way: GpuAccess | None) -> str:
        spec = make_command_spec(
            self.launch, slots, self.folders, self.host, way, streams=self.streams
        )
        if self.launch.options.relaxed:
            spec = relax(spec)
        made: list[str] = []

        def keep_gpus(identity: str) -> None:
            for slot in gpus:
                rename_ended(self.engine, slot.agent_name(self.launch.fleet))
                made.append(self.engine.create(make_placeholder(self.launch, slot, identity)))
            self.before_start(identity)

        try:
            return self.engine.launch(spec, before=keep_gpus)
        except BaseException:  # also for Ctrl-C: keep no GPU for nothing
            for placeholder in made:
                self.engine.remove(placeholder, kill=True)
            raise


def release_gpus(engine: Engine, main: str) -> None:
    """Remove the placeholders of a command's container."""
    for placeholder in engine.containers({**ROLE, labels.KEEPS_FOR: main}):
        engine.remove(placeholder.id, kill=True)


def remove_unstarted(engine: Engine, agents: Sequence[Agent], fleet: str) -> bool:
    """Remove what a killed `runner run` of this fleet made and did not start; true if it did.

    Call it while the fleet is locked: otherwise the command may be about to start it.
    """
    unstarted = [
        agent
        for agent in agents
        if agent.fleet == fleet and agent.command is not None and agent.engine_state == "created"
    ]
    for agent in unstarted:
        release_gpus(engine, agent.container)
        engine.remove(agent.container)
    return bool(unstarted)


def remove_keeping(engine: Engine, fleet: str) -> None:
    """Remove all placeholders of a fleet whose commands are gone."""
    for container in engine.containers({**ROLE, labels.FLEET: fleet, labels.KEEPS_FOR: None}):
        main = engine.find(container.labels[labels.KEEPS_FOR])
        if main is None or not main.alive:
            engine.remove(container.id)
