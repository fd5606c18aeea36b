"""From a connection's description to a transport that is logged in: throttled, retried where that helps."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from provisioner.errors import UnreachableError
from provisioner.remote.ahead import Ahead
from provisioner.remote.auth import KeyRing, authenticate
from provisioner.remote.dial import Timeouts, dial, hang_up
from provisioner.remote.handshake import HungUpError, handshake, offered_key
from provisioner.remote.hostkeys import KnownHosts, Offered
from provisioner.remote.route import Hop, UserConfig

if TYPE_CHECKING:
    from provisioner.inventory.model import Connection
    from provisioner.remote.dial import Wire

_TRIES = 6
_LOGINS_PER_ENDPOINT = 8
"""sshd drops unauthenticated connections at random from the tenth on (MaxStartups 10:30:100). One that drops fewer gets
one login at a time."""

_Finish = Callable[[paramiko.Transport, Hop], None]


class Dialer:
    """What the logins of one run share: configuration, keys, the throttle and the gateways. Thread-safe."""

    def __init__(
        self,
        *,
        known_hosts: KnownHosts,
        key_files: Sequence[Path] = (),
        config: UserConfig | None = None,
        timeouts: Timeouts | None = None,
        ring: KeyRing | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        """Raises ProvisionError for an SSH configuration that cannot be read. Nothing is connected yet."""
        self.timeouts = timeouts or Timeouts()
        self._known_hosts = known_hosts
        self._key_files = tuple(key_files)
        self._config = config or UserConfig.load()
        self._ring = ring or KeyRing()
        self._ahead = ahead or Ahead()
        self._lock = threading.Lock()
        self._throttles: dict[tuple[str, int], _Throttle] = {}
        self._gateways: dict[tuple[Hop, ...], _Gateway] = {}

    def login(self, connection: Connection) -> paramiko.Transport:
        """A transport logged in to the host, through its gateways. Raises UnreachableError."""
        return self._login(self._config.route(connection, self._key_files), self._check_and_authenticate)

    def offered(self, connection: Connection) -> Offered:
        """The key by which the host answers now, unchecked; the gateways before it are checked as ever."""
        route = self._config.route(connection, self._key_files)
        transport = self._login(route, lambda _transport, _hop: None)
        try:
            return Offered(route[-1].key_address, route[-1].port, offered_key(transport))
        finally:
            hang_up(transport)

    def close(self) -> None:
        """Close the gateways, and what was begun for nothing."""
        self._ahead.close()
        with self._lock:
            gateways, self._gateways = list(self._gateways.values()), {}
        for gateway in gateways:
            gateway.close()

    def _login(self, route: tuple[Hop, ...], finish: _Finish) -> paramiko.Transport:
        hop = route[-1]
        preferred = tuple(key.kind for key in self._known_hosts.known(hop.key_address, hop.port))
        wire = self._wire(route)
        said = ""
        throttle = self._throttle(hop)
        for attempt in range(_TRIES):
            if attempt:
                # Other runs dial, too: what is random keeps the two from meeting again and again.
                time.sleep(random.uniform(0.1, 0.5) * attempt)  # noqa: S311  # nothing secret
            with throttle:
                try:
                    return handshake(wire(), hop, preferred, self.timeouts, finish)
                except HungUpError as error:
                    said = str(error)
                    throttle.narrow()
        raise UnreachableError(
            f"{hop.address}, port {hop.port} hangs up before the login ({_TRIES} tries): {said}",
            "is it an SSH server, is it overloaded (MaxStartups), does it block us (PerSourcePenalties)?",
        )

    def _wire(self, route: tuple[Hop, ...]) -> Callable[[], Wire]:
        hop = route[-1]
        if len(route) == 1:
            return lambda: dial(hop, self._ahead)
        gateway = self._gateway(route[:-1])
        return lambda: _tunnel(gateway.transport(), hop, self.timeouts)

    def _gateway(self, route: tuple[Hop, ...]) -> _Gateway:
        with self._lock:
            if route not in self._gateways:
                self._gateways[route] = _Gateway(lambda: self._login(route, self._check_and_authenticate))
            return self._gateways[route]

    def _throttle(self, hop: Hop) -> _Throttle:
        with self._lock:
            return self._throttles.setdefault((hop.address, hop.port), _Throttle())

    def _check_and_authenticate(self, transport: paramiko.Transport, hop: Hop) -> None:
        if hop.check_key:
            self._known_hosts.check(hop.key_address, hop.port, offered_key(transport))
        authenticate(transport, hop, self._ring)


class _Throttle:
    """So many logins at a time; from the first that was hung up on, one."""

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(_LOGINS_PER_ENDPOINT)
        self._alone = threading.Lock()
        self._narrow = False
        self._held = threading.local()

    def narrow(self) -> None:
        self._narrow = True

    def __enter__(self) -> None:
        self._room.acquire()
        self._held.alone = self._narrow
        if self._held.alone:
            self._alone.acquire()

    def __exit__(self, *_: object) -> None:
        if self._held.alone:
            self._alone.release()
        self._room.release()


class _Gateway:
    """One login to a jump host: made when needed, shared by all hosts behind it, made anew when broken."""

    def __init__(self, login: Callable[[], paramiko.Transport]) -> None:
        self._login = login
        self._lock = threading.Lock()
        self._transport: paramiko.Transport | None = None

    def transport(self) -> paramiko.Transport:
        with self._lock:
            if self._transport is None or not self._transport.is_active():
                self._transport = self._login()
            return self._transport

    def close(self) -> None:
        with self._lock:
            if self._transport is not None:
                hang_up(self._transport)


def _tunnel(gateway: paramiko.Transport, hop: Hop, timeouts: Timeouts) -> paramiko.Channel:
    patience = timeouts.channel + hop.timeout
    try:
        return gateway.open_channel(
            "direct-tcpip", (hop.address, hop.port), ("127.0.0.1", 0), timeout=patience
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise UnreachableError(
            f"the jump host cannot reach {hop.address}, port {hop.port}: {error}",
            "log in to the jump host and try from there; its sshd must have AllowTcpForwarding",
        ) from error
