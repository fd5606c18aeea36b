"""TLS and HTTP over a channel of an SSH connection: a client that stands on a host and needs no program there."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import paramiko

T = TypeVar("T")

_REQUEST = "GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: provision\r\n\r\n"


class Wire:
    """A connection; from one thread at a time. What goes wrong is an OSError (TLS's own and time-outs are)."""

    def __init__(self, channel: paramiko.Channel, context: ssl.SSLContext, name: str, until: float) -> None:
        """Shakes hands; `until`, here and below, is on time.monotonic's clock."""
        self._channel = channel
        self._name = name
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._until = until
        try:
            self._go(self._tls.do_handshake)
        except BaseException:
            channel.close()
            raise

    def ask(self, path: str, until: float) -> tuple[int, str]:
        """Status and text of the answer to a GET, which is read to its end, so that the next one can be asked for."""
        self._until = until
        request = _REQUEST.format(path=path, name=f"[{self._name}]" if ":" in self._name else self._name)
        self._go(lambda: self._tls.write(request.encode()))
        said = b""
        while b"\r\n\r\n" not in said:
            said += self._go(self._read)
        head, _, body = said.partition(b"\r\n\r\n")
        length = _length(head)
        while len(body) < length:
            body += self._go(self._read)
        try:
            return int(head.split(b" ", 2)[1]), body.decode(errors="replace")
        except (IndexError, ValueError):
            raise ConnectionError("no HTTP answer") from None

    def close(self) -> None:
        """Hangs up; without the farewell of TLS, which nobody waits for."""
        self._channel.close()

    def _read(self) -> bytes:
        data = self._tls.read(65536)
        if not data:
            raise ConnectionResetError("closed by the other side")
        return data

    def _go(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._out.read():
            self._channel.settimeout(self._left())
            self._channel.sendall(data)

    def _fill(self) -> None:
        self._channel.settimeout(self._left())
        if data := self._channel.recv(65536):
            self._in.write(data)
        else:
            raise ConnectionResetError("closed by the other side")

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return 0
