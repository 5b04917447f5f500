"""`--relaxed`: an agent whose runs may use and change every file of their image."""

from dataclasses import replace

from runner.agent.contract import limits, variables
from runner.engine.types import ContainerSpec


def relax(spec: ContainerSpec) -> ContainerSpec:
    """The same container with a root that can be written, by whatever rights its files have.

    It starts as root, and the agent continues as the caller with these capabilities: files that
    runs make still are the caller's.
    """
    assert spec.user is not None  # noqa: S101 - agents always run as somebody
    return replace(
        spec,
        user="0:0",
        read_only=False,
        capabilities=(*limits.RELAXED, *limits.TO_BECOME),
        environment={**spec.environment, variables.BECOME: spec.user},
    )
