"""Where the token service is that a registry sends us to."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from provisioner.errors import ProvisionError
from provisioner.registry.refusals import WRONG_REALM
from provisioner.registry.server import RegistryServer
from provisioner.registry.target import HTTPS

_HOST = re.compile(r"[a-z0-9_.:-]+")


def service_of(url: str, server: RegistryServer) -> RegistryServer:
    """`server` itself, or another one that is trusted by the same authorities. Raises ProvisionError where that is none
    over TLS.

    Plain HTTP to the registry's own host is a proxy's doing, which ends TLS before it: that is `server`, whatever the
    port, as with a Location.
    """
    where = url.partition("?")[0]
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in {"https", "http"} or not _HOST.fullmatch(host):
        raise ProvisionError(
            f"the registry sends us to {where!r} for a token, which is no service", WRONG_REALM
        )
    same = host == server.host.lower()
    if same and (scheme == "http" or (port or HTTPS) == server.port):
        return server
    if scheme == "http":
        raise ProvisionError(
            f"the registry sends us to {where} for a token: a password does not go there without TLS",
            f"it has to begin with https://. {WRONG_REALM}",
        )
    address = server.address if same else None
    return replace(server, host=host, port=port or HTTPS, address=address, credentials=None)
