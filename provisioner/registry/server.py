"""Which registry, how it is reached and trusted, and who we are to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from provisioner.registry.auth import Credentials


@dataclass(frozen=True)
class RegistryServer:
    """A registry over TLS. `host` is the name in its certificate; `address`, if given, is where to connect.

    `ca_pem` are the only authorities trusted (None: the system's). `stall_seconds` limits every silence, not the whole
    of a transfer.
    """

    host: str
    port: int
    ca_pem: bytes | None = field(default=None, repr=False)
    address: str | None = None
    credentials: Credentials | None = None
    stall_seconds: float = 15
