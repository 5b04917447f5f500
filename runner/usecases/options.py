"""What the settings say of containers, of agents and of commands alike."""

from runner.launchers.docker.container_spec import AgentOptions
from runner.launchers.docker.mounts import resolve_mounts
from runner.launchers.docker.user_env import check_env
from runner.usecases.session import Session


def make_container_options(session: Session, *, offline: bool, relaxed: bool) -> AgentOptions:
    """What the settings say of every container, an agent's or a command's.

    Raises:
        RunnerError: a mount or variable is not allowed (2, 3).
    """
    settings, run = session.settings, session.settings.run
    return AgentOptions(
        mounts=resolve_mounts(run.mounts, session.project.root),
        env=check_env(run.env),
        shm_bytes=run.shm_size,
        memory_bytes=run.memory,
        cpus=run.cpus,
        grace_s=run.grace_s,
        pin_index=settings.pin == "index",
        memlock=settings.memlock,
        offline=offline,
        relaxed=relaxed,
    )
