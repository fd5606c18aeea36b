"""One host, connected: scripts go out, results come back. One exec a script, whatever it carries."""

from __future__ import annotations

import functools
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import paramiko

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.remote import frame, sudo
from provisioner.remote.causes import cause_of
from provisioner.remote.dial import Timeouts, hang_up
from provisioner.remote.exchange import Exchange
from provisioner.remote.forward import forward
from provisioner.remote.hostkeys import KnownHosts
from provisioner.remote.login import Dialer
from provisioner.remote.outcome import DeadlineError, LostError, Result
from provisioner.remote.pulse import Pulse
from provisioner.remote.route import UserConfig
from provisioner.shell.script import Script

if TYPE_CHECKING:
    from provisioner.inventory.model import Connection

__all__ = ["DeadlineError", "LostError", "Result", "Session", "connect"]

_CHANNELS = 4
"""Of the ten that sshd allows (MaxSessions)."""
_RUN_AGAIN = "is the host up, and its network well? Then run again"
_WORDS = 500
"""Characters of what a host said that an error quotes."""


class Session:
    """A connected host. A context manager; at most four scripts at a time, further ones wait."""

    def __init__(
        self, host: str, transport: paramiko.Transport, become: sudo.Become | None, timeouts: Timeouts
    ) -> None:
        self.host = host
        self.execs = 0
        """Channels opened so far."""
        self.yields = False
        """Scripts let everything else on the host go first."""
        self._transport = transport
        self._timeouts = timeouts
        self._pulse = Pulse(transport, timeouts.silence)
        self._slots = threading.BoundedSemaphore(_CHANNELS)
        self._count = threading.Lock()
        self._login = transport.get_username() or ""
        self._become = become if become and become.user != self._login else None
        self._sudo = sudo.Mode.UNKNOWN
        self._dialer: Dialer | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """False once the connection has broken or was closed."""
        return bool(self._transport.is_active())

    def run(
        self,
        script: Script,
        *,
        deadline: float = 600.0,
        on_stdout: Callable[[bytes], object] | None = None,
        what: str = "a script",
    ) -> Result:
        """Run `script` to its end; its exit status is the caller's to judge.

        `deadline` is in seconds. With `on_stdout` the output goes there as it comes and Result.stdout is
        empty. `what` names the work in errors. Raises LostError (an UnreachableError) when the connection
        breaks, UnreachableError when sudo or the login shell refuses, DeadlineError, and ProvisionError for a
        payload file that cannot be read.
        """
        head = frame.archive(frame.yielding(script) if self.yields else script)
        size = len(head) + sum(blob.size for blob in script.streams)
        until = time.monotonic() + deadline
        with self._slots:
            exchange = self.start(len(head) if script.streams else 0, on_stdout=on_stdout, what=what)
            try:
                exchange.send(_body(head, script), size)
                self.await_start(exchange, until)
                result = exchange.finish(until)
            except (DeadlineError, LostError) as error:
                raise self._told(error, exchange, what, deadline) from error
            except OSError as error:
                raise ProvisionError(f"{self.host}: {what}: {error}") from error
            finally:
                exchange.close()
        self.check_begun(exchange, result, what)
        return result

    def start(
        self,
        size: int,
        *,
        on_stdout: Callable[[bytes], object] | None = None,
        what: str = "a script",
    ) -> Exchange:
        """Start the frame for a tar of `size` bytes, as the right user; what follows is the caller's to send.

        0 stands for a tar behind which nothing follows.

        For scripts that stay in a conversation (the lock). Raises UnreachableError.
        """
        mark, prompt = secrets.token_hex(8), secrets.token_hex(8)
        mode = self._sudo
        become = self._become
        command = (
            frame.command(size, mark) if become is None else sudo.command(become, mode, prompt, size, mark)
        )
        with self._count:
            self.execs += 1
        try:
            exchange = Exchange(
                self._transport,
                command,
                mark=mark,
                pulse=self._pulse,
                timeout=self._timeouts.channel,
                on_stdout=on_stdout,
            )
        except UnreachableError as error:
            raise type(error)(
                f"{self.host}: {error.reason}, before {what} began", error.hint or _RUN_AGAIN
            ) from error
        if become is not None:
            self._converse(exchange, become, prompt)
        return exchange

    def forward(self, address: str, port: int, seconds: float) -> paramiko.Channel:
        """A TCP connection that the host makes for us. Raises as remote.forward."""
        return forward(self._transport, self.host, address, port, seconds)

    def close(self) -> None:
        """Hang up. What still runs on the host loses its input and output."""
        hang_up(self._transport)
        if self._dialer is not None:
            self._dialer.close()

    def own(self, dialer: Dialer) -> None:
        """Close `dialer` (its gateways) together with this session."""
        self._dialer = dialer

    def await_start(self, exchange: Exchange, until: float = math.inf) -> None:
        """Wait until the login shell runs the frame, or has ended. Raises UnreachableError when it does neither in
        time, DeadlineError after `until` (on time.monotonic's clock), LostError."""
        late = time.monotonic() + self._timeouts.start
        try:
            exchange.pump(lambda: exchange.out.ready, min(until, late))
        except DeadlineError:
            if late > until:
                raise
            waited = f"it did not run the command within {self._timeouts.start:g} s"
            raise self._no_shell(exchange, waited) from None

    def check_begun(self, exchange: Exchange, result: Result, what: str) -> None:
        """Raise UnreachableError when the login shell did not run the frame, ProvisionError when that could not lay
        the script down: it says its mark once more then."""
        if not exchange.out.ready:
            raise self._no_shell(exchange, f"it ended with status {result.status}")
        said = result.stderr.removesuffix(exchange.err.mark)
        if result.status not in (97, 98) or said == result.stderr:
            return
        words = said.decode(errors="replace").strip()
        cause, hint = cause_of(words, self.host)
        raise ProvisionError(
            f"{self.host}: {what} cannot be put down in /run or /tmp there: {cause or 'no reason is known'}"
            + _quoted(words),
            hint or f"look at `df` and `mount` on {self.host}",
        )

    def _converse(self, exchange: Exchange, become: sudo.Become, prompt: str) -> None:
        try:
            self._sudo = sudo.converse(exchange, become, prompt, self._login, self._timeouts.auth)
        except (UnreachableError, DeadlineError) as error:
            exchange.close()
            self._sudo = sudo.Mode.UNKNOWN
            reason = "sudo neither asks nor runs" if isinstance(error, DeadlineError) else error.reason
            raise UnreachableError(f"{self.host}: {reason}", error.hint) from error

    def _told(
        self, error: DeadlineError | LostError, exchange: Exchange, what: str, deadline: float
    ) -> ProvisionError:
        last = _last_lines(exchange.stderr)
        if isinstance(error, DeadlineError):
            return DeadlineError(
                f"{self.host}: {what} did not end within {deadline:g} s{last}", "it may still run there"
            )
        return LostError(
            f"{self.host}: {error.reason}, while running {what}{last}",
            f"{_RUN_AGAIN}; it may have been carried out in part or in full, so that reads everything first",
        )

    def _no_shell(self, exchange: Exchange, how: str) -> UnreachableError:
        said = bytes(exchange.out.noise + b"\n" + exchange.err.noise).decode(errors="replace").strip()
        words = _quoted(said) if "\0" not in said else "; it gave back what it was sent"
        cause, hint = cause_of(said, self.host)
        return UnreachableError(
            f"{self.host}: the login shell of {self._login} runs no commands: {cause or how}"
            f"{words or '; it said nothing'}",
            hint
            or f"try `ssh {self._login}@HOST /bin/sh -c :`; the account needs a login shell, and start files"
            " (.profile, .bashrc), that run commands where no terminal is",
        )


def connect(
    host_name: str,
    connection: Connection,
    *,
    known_hosts: KnownHosts,
    key_files: Sequence[Path] = (),
    config: UserConfig | None = None,
    timeouts: Timeouts | None = None,
    dialer: Dialer | None = None,
) -> Session:
    """Log in to one host. Raises UnreachableError, whose hint says what to look at.

    `dialer` is what the sessions of one run share; without it the session has one of its own from the other
    arguments.
    """
    shared = dialer or Dialer(known_hosts=known_hosts, key_files=key_files, config=config, timeouts=timeouts)
    become = _become(connection) if connection.become else None
    try:
        transport = shared.login(connection)
    except UnreachableError as error:
        raise UnreachableError(f"{host_name}: {error.reason}", error.hint) from error
    session = Session(host_name, transport, become, shared.timeouts)
    if dialer is None:
        session.own(shared)
    return session


def _become(connection: Connection) -> sudo.Become:
    secret = connection.become_password
    # A secret may come from a command that takes its time: once a session is enough.
    return sudo.Become(connection.become_user, functools.cache(secret.reveal) if secret else None)


def _body(head: bytes, script: Script) -> Iterator[bytes]:
    pieces = (head[start : start + frame.CHUNK] for start in range(0, len(head), frame.CHUNK))
    return chain(pieces, *(frame.chunks(blob) for blob in script.streams))


def _last_lines(stderr: bytes) -> str:
    return _quoted(stderr[-_WORDS * 4 :].decode(errors="replace").strip())


def _quoted(text: str, count: int = 5) -> str:
    words = " / ".join(line.strip() for line in text.splitlines()[-count:])
    return f"; its last words: {words[-_WORDS:]}" if words else ""
