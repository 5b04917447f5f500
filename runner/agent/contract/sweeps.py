"""Which sweep an agent works on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SweepPath:
    """Where a sweep is on its server: `entity/project/id`."""

    entity: str
    project: str
    id: str

    @classmethod
    def parse(cls, text: str) -> "SweepPath":
        """The path in this text.

        Raises:
            ValueError: it does not have three parts.
        """
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"`{text}` is not entity/project/id")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"
