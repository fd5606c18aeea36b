"""One command on one channel: bytes go in while both outputs are drained; neither waits for the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from provisioner.errors import UnreachableError
from provisioner.remote.dial import fault_of, hang_up
from provisioner.remote.outcome import DeadlineError, LostError, Marked, Result
from provisioner.remote.pulse import Pulse

_READ = 256 * 1024
_LINGER = 2.0
"""Seconds that outputs may stay open and silent after the exit: a daemon that was started may hold them."""


_PAUSES = (0.05, 0.2, 0.5, 1.0)
"""Seconds between tries to open a channel: where MaxSessions is small, the one before is not quite gone yet."""


_REFUSED = "Unable to open channel."
"""What the library says to the second of two that are refused at once; the first gets a ChannelException."""


class _Arrival(threading.Event):
    """Set by the transport's thread when anything happens on the channel; only the reader resets it.

    The library's buffers clear their event when they run empty; two buffers share this one, so that must do
    nothing.
    """

    def clear(self) -> None:
        pass

    def reset(self) -> None:
        super().clear()


class Exchange:
    """A running command. Use from one thread; close it in the end."""

    def __init__(
        self,
        transport: paramiko.Transport,
        command: str,
        *,
        mark: str,
        pulse: Pulse,
        timeout: float,
        on_stdout: Callable[[bytes], object] | None = None,
    ) -> None:
        """Open a channel (at most `timeout` seconds) and start `command`. Raises UnreachableError."""
        self._pulse = pulse
        self._transport = transport
        self._arrival = _Arrival()
        self._sender: threading.Thread | None = None
        self._fault: Exception | None = None
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self.out = Marked(mark.encode() + b"\n", on_stdout or self._stdout.append)
        self.err = Marked(mark.encode() + b"\n", self._stderr.append)
        self._started = time.monotonic()
        self._channel = _open(transport, timeout)
        self._channel.in_buffer.set_event(self._arrival)
        self._channel.in_stderr_buffer.set_event(self._arrival)
        self._channel.status_event = self._arrival
        _execute(self._channel, command)

    @property
    def stdout(self) -> bytes:
        return b"".join(self._stdout)

    @property
    def stderr(self) -> bytes:
        return b"".join(self._stderr)

    def send(self, chunks: Iterable[bytes], size: int, *, end: bool = True) -> None:
        """Write `chunks`, `size` bytes in all, then, with `end`, close the command's stdin.

        What fits the window goes at once; more goes from a thread of its own while `pump` drains. A command
        that has ended takes no more, which is no fault.
        """
        if size <= self._channel.out_window_size:
            self._write(chunks, end)
            return
        self._sender = threading.Thread(target=self._write_guarded, args=(chunks, end), daemon=True)
        self._sender.start()

    def pump(self, until: Callable[[], bool], deadline: float) -> bool:
        """Drain until `until()` holds (True) or the command has ended (False).

        `deadline` is on time.monotonic's clock. Raises DeadlineError, LostError, or what reading the chunks
        raised.
        """
        asking = self._pulse.interval
        while True:
            self._arrival.reset()
            ended = self._ended()
            self._drain()
            if self._fault is not None:
                raise self._fault
            if until():
                return True
            if ended:
                return False
            exited = self._channel.exit_status != -1
            patience = min(_LINGER if exited else asking, deadline - time.monotonic())
            if self._arrival.wait(max(patience, 0.0)):
                continue
            if exited and not self._channel.recv_ready():
                return False
            if time.monotonic() >= deadline:
                raise DeadlineError("did not end in time")
            if not self._pulse.beats():
                self._drop()
                raise LostError(f"gave no sign of life for {self._pulse.silence:g} s")

    def wake(self) -> None:
        """Make `pump`, running in another thread, look at its condition now."""
        self._arrival.set()

    def finish(self, deadline: float) -> Result:
        """Drain to the end. Raises as `pump` does."""
        self.pump(lambda: False, deadline)
        status = self._channel.exit_status
        if status == -1:
            raise LostError(_why_lost(self._transport))
        return Result(status, self.stdout, self.stderr, time.monotonic() - self._started)

    def close(self) -> None:
        """Close the channel, which wakes a sender that waits for the window.

        One that is stuck in the socket holds the write lock; only dropping the connection frees it.
        """
        sender = self._sender
        if sender is not None and sender.is_alive() and self._channel.out_window_size:
            sender.join(1.0)
            if sender.is_alive() and self._channel.out_window_size:
                self._drop()
        self._channel.close()

    def _ended(self) -> bool:
        channel = self._channel
        return bool(channel.closed or (channel.eof_received and channel.exit_status != -1))

    def _drain(self) -> None:
        channel = self._channel
        while channel.recv_ready():
            self.out.feed(channel.recv(_READ))
        while channel.recv_stderr_ready():
            self.err.feed(channel.recv_stderr(_READ))

    def _write_guarded(self, chunks: Iterable[bytes], end: bool) -> None:
        try:
            self._write(chunks, end)
        except Exception as error:  # handed to the reading thread, which raises it
            self._fault = error
            self._arrival.set()

    def _write(self, chunks: Iterable[bytes], end: bool) -> None:
        channel = self._channel
        for chunk in chunks:
            rest = chunk
            while rest:
                sent = _send(channel, rest)
                if not sent:
                    return
                rest = rest[sent:]
            self._pulse.touch()
        if end and not channel.closed:
            channel.shutdown_write()

    def _drop(self) -> None:
        hang_up(self._transport)


def _send(channel: paramiko.Channel, data: bytes) -> int:
    """Bytes taken; 0 when the command takes no more."""
    try:
        return channel.send(data)
    except (OSError, EOFError, paramiko.SSHException):
        return 0


def _open(transport: paramiko.Transport, timeout: float) -> paramiko.Channel:
    for pause in (*_PAUSES, 0.0):
        try:
            return transport.open_session(timeout=timeout)
        except (paramiko.SSHException, EOFError, OSError) as error:
            refused = isinstance(error, paramiko.ChannelException) or str(error) == _REFUSED
            if not (refused and transport.is_active()):
                raise LostError(
                    f"the connection is gone: {_why_broken(fault_of(transport) or error)}"
                ) from error
            fault = error
            time.sleep(pause)
    raise UnreachableError(
        f"the server opens no further session: {fault}",
        "raise MaxSessions in its sshd_config (10 by default)",
    ) from fault


def _execute(channel: paramiko.Channel, command: str) -> None:
    """Ask for `command` without waiting for the answer: one round trip less; a refusal closes the channel."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    send: Callable[[paramiko.Message], None] = channel.get_transport()._send_user_message  # type: ignore[attr-defined]
    send(message)


def _why_lost(transport: paramiko.Transport) -> str:
    # The transport's thread closes channels a moment before it counts as ended itself.
    transport.join(0.2)
    if transport.is_active():
        return "the command was killed or refused by the host"
    return f"the connection broke: {_why_broken(fault_of(transport))}"


def _why_broken(error: Exception | None) -> str:
    if isinstance(error, ConnectionResetError):
        return "reset by the host, or by something between"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "closed by the host" if error is None or isinstance(error, EOFError) else str(error)
