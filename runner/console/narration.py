"""The type of reports, for code that does not print itself."""

from collections.abc import Callable

Report = Callable[[str], None]  # gets a line: a finished action, or a decision and its reason
