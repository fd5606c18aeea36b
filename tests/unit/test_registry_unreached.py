"""Registries that cannot be connected to: what is told, and how soon."""

from __future__ import annotations

import errno
import socket
import time

import pytest
import urllib3
from registryserver import reached

from provisioner.errors import UnreachableError
from provisioner.registry import transport, unreached
from provisioner.registry.client import Registry

NONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
CASES = [
    (NONE, "the name reg.example does not resolve", "--address IP"),
    (AGAIN, "the name reg.example does not resolve: no name server answers", "--address IP"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "nothing listens on reg.example:5000", "port"),
    (TimeoutError("timed out"), "reg.example:5000 does not answer", "firewall"),
    (OSError(errno.EHOSTUNREACH, "No route to host"), "no way leads to reg.example:5000", "route"),
    (OSError(errno.EMFILE, "Too many open files"), "reg.example:5000 cannot be reached: Too many open", ""),
]


@pytest.fixture
def closed() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def failing(monkeypatch: pytest.MonkeyPatch, error: OSError) -> list[str]:
    """Connections fail so; returns to whom they went."""
    asked: list[str] = []

    def fail(address: tuple[str, int], *_: object, **__: object) -> None:
        asked.append(address[0])
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    monkeypatch.setattr(urllib3.util.connection, "create_connection", fail)
    return asked


@pytest.mark.parametrize(("error", "says", "hint"), CASES)
def test_what_a_first_look_tells(
    monkeypatch: pytest.MonkeyPatch, error: OSError, says: str, hint: str
) -> None:
    asked = failing(monkeypatch, error)
    with pytest.raises(UnreachableError) as caught:
        unreached.check(reached(5000, host="reg.example", address=None))
    assert caught.value.reason.startswith(says)
    assert hint in caught.value.hint
    assert asked == ["reg.example"], "once"


@pytest.mark.parametrize(("error", "says", "hint"), CASES)
def test_what_requests_tell(monkeypatch: pytest.MonkeyPatch, error: OSError, says: str, hint: str) -> None:
    monkeypatch.setattr(transport, "_FIRST_DELAY_SECONDS", 0.001)
    asked = failing(monkeypatch, error)
    registry = Registry(reached(5000, host="reg.example", address=None))
    with registry, pytest.raises(UnreachableError) as caught:
        registry.ping()
    assert says in caught.value.reason
    assert "HTTPSConnection" not in caught.value.reason
    assert len(asked) == (1 if error is NONE else transport.ATTEMPTS), (
        "only what may mend itself is asked again"
    )


def test_a_closed_port_is_told_at_once(closed: int) -> None:
    server = reached(closed)
    began = time.monotonic()
    with pytest.raises(
        UnreachableError, match=rf"^nothing listens on registry.example:{closed} at 127.0.0.1$"
    ):
        unreached.check(server)
    assert time.monotonic() - began < server.stall_seconds


def test_one_that_listens_is_fine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        unreached.check(reached(listener.getsockname()[1]))


def test_what_failed_after_the_connection_keeps_its_words() -> None:
    late = urllib3.exceptions.ProtocolError("the answer does not end")
    assert unreached.words("r:1", late) == "the answer does not end"
    assert unreached.failure("r:1", late) is None
