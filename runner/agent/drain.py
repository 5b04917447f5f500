"""What the host asks of this agent: to leave between two runs."""

from runner.agent.contract.status import drain_file, is_drain_for
from runner.agent.foreign import read_foreign_text
from runner.agent.settings import AgentSettings


def is_drained(settings: AgentSettings) -> bool:
    """Whether the host asks this very container to leave."""
    if settings.orders_dir is None or settings.container is None:
        return False
    try:
        text = read_foreign_text(settings.orders_dir / drain_file(settings.agent))
    except (OSError, ValueError):
        return False
    return is_drain_for(text, settings.container)
