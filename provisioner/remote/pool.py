"""The sessions of one run: made when first asked for, in parallel, and made anew when they broke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import UnreachableError
from provisioner.remote.hostkeys import KnownHosts, Offered
from provisioner.remote.login import Dialer
from provisioner.remote.session import Session, connect

if TYPE_CHECKING:
    from provisioner.inventory.model import Connection
    from provisioner.remote.ahead import Ahead
    from provisioner.remote.dial import Timeouts
    from provisioner.remote.route import UserConfig

T = TypeVar("T")


class Pool:
    """Sessions by host name. A context manager; thread-safe."""

    def __init__(
        self,
        hosts: Mapping[str, Connection],
        *,
        known_hosts: KnownHosts,
        key_files: Sequence[Path] = (),
        limit: int = 64,
        config: UserConfig | None = None,
        timeouts: Timeouts | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        """`limit`: how many hosts are worked on at a time; `ahead` has begun to connect some of them. Nothing else is
        connected yet."""
        self._hosts = dict(hosts)
        self._known_hosts = known_hosts
        self._limit = limit
        self._dialer = Dialer(
            known_hosts=known_hosts, key_files=key_files, config=config, timeouts=timeouts, ahead=ahead
        )
        self._locks = {host: threading.Lock() for host in self._hosts}
        self._sessions: dict[str, Session] = {}
        self._unreached: dict[str, UnreachableError] = {}
        self._lost_execs = 0
        self._closed = False
        self._yields = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def execs(self) -> int:
        """Channels opened so far on the pool's own sessions."""
        return self._lost_execs + sum(session.execs for session in list(self._sessions.values()))

    def session(self, host: str) -> Session:
        """The host's session; connects when there is none or it broke. Raises UnreachableError, KeyError."""
        with self._locks[host]:
            if host in self._unreached:
                raise self._unreached.pop(host)
            session = self._sessions.get(host)
            if session is None or not session.alive:
                self._lost_execs += session.execs if session else 0
                session = self._made(host)
            return session

    def yield_to_others(self) -> None:
        """From now on scripts let everything else on their hosts go first."""
        self._yields = True
        for session in list(self._sessions.values()):
            session.yields = True

    def warm(self, hosts: Sequence[str]) -> None:
        """Begin to connect `hosts` that are not, and return at once. `session` waits and raises what went wrong."""
        cold = [host for host in hosts if host not in self._sessions and host not in self._unreached]
        left = iter(cold)
        mutex = threading.Lock()

        def work() -> None:
            while not self._closed:
                with mutex:
                    host = next(left, None)
                if host is None:
                    return
                self._connect_ahead(host)

        for _ in range(min(self._limit, len(cold))):
            # Daemons: a host that does not answer must not hold up the end of a run that was refused meanwhile.
            threading.Thread(target=work, daemon=True).start()

    def _connect_ahead(self, host: str) -> None:
        with self._locks[host]:
            if host not in self._sessions and host not in self._unreached:
                try:
                    self._made(host)
                except UnreachableError as error:
                    self._unreached[host] = error

    def _made(self, host: str) -> Session:
        """A new session, in the pool. Raises UnreachableError."""
        session = self._sessions[host] = self.dial(host)
        session.yields = self._yields
        # Who closes the pool says so before it looks for sessions: one that it did not see yet is seen here.
        if self._closed:
            session.close()
        return session

    def dial(self, host: str) -> Session:
        """A further session of its own (a lock needs one), the caller's to close. Raises UnreachableError."""
        session = connect(host, self._hosts[host], known_hosts=self._known_hosts, dialer=self._dialer)
        if self._closed:
            session.close()
            raise UnreachableError(f"{host}: the run was interrupted while this host was being connected")
        return session

    def offered(self, host: str) -> Offered:
        """The key by which the host answers now, not checked against anything. Raises UnreachableError."""
        return self._dialer.offered(self._hosts[host])

    def map(self, hosts: Sequence[str], work: Callable[[Session], T]) -> dict[str, T | Exception]:
        """`work` on every host's session, in parallel: its result, or what it or connecting raised."""
        return self.each(hosts, lambda host: work(self.session(host)))

    def each(self, hosts: Sequence[str], work: Callable[[str], T]) -> dict[str, T | Exception]:
        """`work` on every host's name, in parallel, as `map`."""

        def guarded(host: str) -> T | Exception:
            try:
                return work(host)
            except Exception as error:  # the caller decides host by host
                return error

        if not hosts:
            return {}
        threads = ThreadPoolExecutor(min(self._limit, len(hosts)), "host")
        try:
            return dict(zip(hosts, threads.map(guarded, hosts), strict=True))
        except BaseException:
            # Interrupted: without their connections the workers end now and not at their scripts' deadlines.
            self.close()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    @property
    def closed(self) -> bool:
        """Whether it was closed: what fails after that fails because of it."""
        return self._closed

    def close(self) -> None:
        """Hang up everywhere. Nothing connects any more afterwards."""
        self._closed = True
        for session in list(self._sessions.values()):
            session.close()
        self._dialer.close()
