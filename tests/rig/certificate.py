"""A certificate authority for the tests, made with the `openssl` command."""

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate, and the authority that a client must trust."""

    authority: Path
    chain: Path
    key: Path


def make_certificate(folder: Path, names: Sequence[str]) -> Certificate:
    """Make a certificate for these host names and addresses; reuses files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if made.chain.exists():
        return made
    ca_key, config = folder / "ca.key", folder / "openssl.cnf"
    config.write_text(CONFIG.format(name="runner test authority", names=_alternatives(names)))
    _request(config, "authority", ca_key, made.authority)
    config.write_text(CONFIG.format(name="runner test cloud", names=_alternatives(names)))
    _request(config, "server", made.key, made.chain, "-CA", made.authority, "-CAkey", ca_key)
    made.authority.chmod(0o644)
    return made


def _request(config: Path, section: str, key: Path, certificate: Path, *signer: str | Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    where = ("-keyout", key, "-out", certificate, "-config", config, "-extensions", section)
    command = ("openssl", "req", "-x509", "-days", "30", *curve, *where, *signer)
    subprocess.run(command, check=True, capture_output=True)


def _alternatives(names: Sequence[str]) -> str:
    return ", ".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
