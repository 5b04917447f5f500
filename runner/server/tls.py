"""HTTPS: with which certificate the server answers."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from runner.errors import RunnerError


@dataclass(frozen=True, slots=True)
class Tls:
    """With which the server shows who it is."""

    certificate: Path  # PEM: its own, then those that lead to the authority
    key: Path

    def check(self) -> None:
        """Refuse files with which nothing can be encrypted."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except OSError as error:  # `SSLError` is one
            raise RunnerError(
                f"`{self.certificate}` and `{self.key}` are no certificate with its key: {error}",
                hint="both are PEM files, the key without a password",
            ) from error
