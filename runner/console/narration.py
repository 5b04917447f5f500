"""How code that does not print itself says what it does."""

from collections.abc import Callable

Report = Callable[[str], None]  # takes one line: a finished action, or what is decided and why
