"""Why a registry could not be connected to, in words that mend it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from provisioner.errors import UnreachableError
from provisioner.registry.server import RegistryServer

_NO_WAY = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL))


def check(server: RegistryServer) -> None:
    """Connects once, without TLS and without back-off. Raises UnreachableError."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    at = f" at {server.address}" if server.address else ""
    try:
        socket.create_connection((server.address or server.host, server.port), server.stall_seconds).close()
    except OSError as error:
        raise _told(f"{host}:{server.port}{at}", server.address or server.host, error) from error


def failure(authority: str, error: BaseException) -> UnreachableError | None:
    """What trying again will not mend: the name does not resolve. None for all else."""
    cause = _cause(error)
    # A name server that does not answer may do so in a moment.
    final = isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
    return _told(authority, _name(authority), cause) if cause is not None and final else None


def words(authority: str, error: BaseException) -> str:
    """A connection that did not come about, without urllib3's own words; of any other failure these."""
    cause = _cause(error)
    return str(error) if cause is None else _told(authority, _name(authority), cause).reason


def _told(where: str, name: str, error: OSError) -> UnreachableError:
    if isinstance(error, socket.gaierror):
        why = ": no name server answers" if error.errno == socket.EAI_AGAIN else ""
        hint = "is it written right, and does this machine's DNS know it? `provision bundle` takes --address IP, too"
        return UnreachableError(f"the name {name} does not resolve{why}", hint)
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError(f"nothing listens on {where}", "is the registry up, and is this its port?")
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{where} does not answer", "is it up, and does a firewall let it through?")
    if error.errno in _NO_WAY:
        return UnreachableError(f"no way leads to {where}", "has this machine a route there?")
    return UnreachableError(f"{where} cannot be reached: {error.strerror or error}")


def _cause(error: BaseException) -> OSError | None:
    """The system's own error when no connection came about."""
    from urllib3.exceptions import (
        ConnectTimeoutError,
    )  # NewConnectionError and NameResolutionError are such ones

    if not isinstance(error, ConnectTimeoutError):
        return None
    return next((each for each in _chain(error) if isinstance(each, OSError)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _name(authority: str) -> str:
    return authority.rpartition(":")[0].strip("[]")
