"""Locks on hosts: one run at a time, and none that outlives its holder.

A lock is a flock held by a script on a connection of its own. It ends at once when that connection closes or
the controller dies, and after 60 s of silence when the controller hangs or the network swallows it. One whose
holder is known to have ended is taken over at once: who lost a host wants to go on as soon as it is back.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

from provisioner.errors import LockedError, ProvisionError
from provisioner.remote import frame
from provisioner.remote.exchange import Exchange
from provisioner.remote.outcome import DeadlineError, LostError
from provisioner.remote.session import Session
from provisioner.shell.script import Blob, Script

BEAT = 10.0
"""Seconds between two signs of life."""
SILENCE = 60
"""Seconds of silence after which the host gives the lock up."""
_ANSWER = 15.0
_GOODBYE = 2.0
_TAKEN = 75
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# The children that read the heartbeat do not inherit descriptor 9: only this shell holds the lock. The
# holder's name stands in a file beside the lock, because the lock's own file may be open for writing in
# several hopeful runs. Only the shell that holds the lock is killed, when the run whose name the taker knows to be over
# still has it: the one around that takes its folder away. A script of that run that still waits for what it was sent
# (receive, in shell/prelude.sh) ends, too.
_HOLD = """\
umask 077
taken_over() {
    [ -e "$W/over" ] && [ "$(cat "$W/over")" = "$1" ] && read -r pid <"/run/provision/$NAME.pid" &&
        [ "$(readlink "/proc/$pid/fd/9")" = "/run/provision/$NAME.lock" ] && kill -9 "$pid" && flock -w 5 9 || return
    read -r pid </run/provision/receiving && read -r name <"/proc/$pid/comm" && [ "$name" = timeout ] && kill "$pid"
    :
} 2>/dev/null
mkdir -p /run/provision || exit 74
exec 9>>"/run/provision/$NAME.lock" || exit 74
if ! flock -n 9; then
    said=$(cat "/run/provision/$NAME.holder" 2>/dev/null || echo "a run that has just begun")
    taken_over "$said" || {
        echo "$said"
        exit 75
    }
fi
cat "$W/holder" >"/run/provision/$NAME.holder" || exit 74
read -r pid rest </proc/self/stat && echo "$pid" >"/run/provision/$NAME.pid"
echo held
while [ -n "$(timeout "$SILENCE" head -c 1 <&3 9>&-)" ]; do :; done
rm -f "/run/provision/$NAME.holder"
"""


def hold(name: str, silence: int) -> str:
    """The script that holds the lock `name` until descriptor 3 ends or is silent for `silence` seconds."""
    return f"NAME={name}\nSILENCE={silence}\n{_HOLD}"


class RemoteLock:
    """One lock on one host. A context manager: acquired on entry, released on exit."""

    def __init__(
        self,
        dial: Callable[[], Session],
        name: str,
        holder: str,
        *,
        beat: float = BEAT,
        silence: int = SILENCE,
        over: Callable[[str], bool] = lambda _holder: False,
    ) -> None:
        """`dial` makes the lock's own session (Pool.dial); `holder` is like "alice@desk, pid 123, run X".

        `over` says whether such a holder, with its ", since TIME", is known to have ended.
        """
        if not _NAME.fullmatch(name):
            raise ProvisionError(f"a lock cannot be named {name!r}")
        self.name = name
        self._dial = dial
        self._holder = holder
        self._over = over
        self._beat = beat
        self._silence = silence
        self._stop = threading.Event()
        self._session: Session | None = None
        self._exchange: Exchange | None = None
        self._keeper: threading.Thread | None = None
        self._lost = ""
        self._answer = bytearray()

    def __enter__(self) -> RemoteLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock. Raises LockedError, which names the holder, UnreachableError, ProvisionError."""
        self._stop, self._lost = threading.Event(), ""
        self._answer.clear()
        session = self._session = self._dial()
        try:
            self._exchange = self._start(session)
            status = self._await_answer(session)
            if status == _TAKEN and self._over(said := self._said()):
                self._answer.clear()
                self._exchange = self._start(session, over=said)
                status = self._await_answer(session)
            self._judge(session, status)
        except BaseException:
            self.release()
            raise
        self._keeper = threading.Thread(target=self._keep, args=(self._exchange,), daemon=True)
        self._keeper.start()

    @property
    def held(self) -> bool:
        """Whether the host still holds the lock for us, as far as is known."""
        return self._exchange is not None and not self._lost

    def ensure(self) -> None:
        """Raise LockedError when the lock is no longer held. Call it before what relies on the lock."""
        if not self.held:
            host = self._session.host if self._session else "no host"
            raise LockedError(
                f"the lock {self.name} on {host} was lost: {self._lost or 'it is not held'}",
                "run again: it reads everything first",
            )

    def release(self) -> None:
        """Give the lock up; the host has dropped it when this returns, or does so very soon."""
        exchange, self._exchange = self._exchange, None
        keeper, self._keeper = self._keeper, None
        self._stop.set()
        if exchange is not None and keeper is not None:
            exchange.wake()
            keeper.join(_GOODBYE)
            if not keeper.is_alive() and not self._lost:
                with contextlib.suppress(ProvisionError):
                    exchange.send([], 0)
                    exchange.finish(time.monotonic() + _GOODBYE)
        if self._session is not None:
            self._session.close()

    def _said(self) -> str:
        return self._answer.decode(errors="replace").strip()

    def _start(self, session: Session, over: str = "") -> Exchange:
        """Asks for the lock; takes it from the holder `over`."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        payload = {"holder": Blob.of(f"{self._holder}, since {since}\n".encode())}
        if over:
            payload["over"] = Blob.of(over.encode())
        head = frame.archive(Script(hold(self.name, self._silence), payload))
        exchange = session.start(len(head), on_stdout=self._answer.extend)
        exchange.send([head], len(head), end=False)
        return exchange

    def _await_answer(self, session: Session) -> int | None:
        """None when the host says "held", else the script's exit status."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101
        try:
            session.await_start(exchange)
            try:
                if exchange.pump(lambda: self._answer == b"held\n", time.monotonic() + _ANSWER):
                    return None
            except DeadlineError:
                exchange.send([], 0)  # who waits for the rest of the script learns that there is none
            result = exchange.finish(time.monotonic() + _GOODBYE)
        except (DeadlineError, LostError) as error:
            reason = error.reason if isinstance(error, LostError) else f"no answer within {_ANSWER:g} s"
            raise LostError(
                f"{session.host}: {reason}, while taking the lock {self.name}",
                "is the host up, and does it work? Then run again",
            ) from error
        session.check_begun(exchange, result, f"the lock {self.name}")
        return result.status

    def _judge(self, session: Session, status: int | None) -> None:
        if status is None:
            return
        assert self._exchange is not None  # noqa: S101
        if status == _TAKEN:
            raise LockedError(
                f"{session.host}: the lock {self.name} is held by {self._said()}",
                "wait for that run; if it died, the host drops the lock within a minute",
            )
        words = self._exchange.stderr.decode(errors="replace").strip() or f"status {status}"
        raise ProvisionError(
            f"{session.host}: the lock {self.name} cannot be taken: {words}",
            "locks need root (set ansible_become) and flock from util-linux",
        )

    def _keep(self, exchange: Exchange) -> None:
        """Beat until released; note it when the host has dropped the lock."""
        while not self._stop.is_set():
            exchange.send([b"."], 1, end=False)
            late = time.monotonic() + self._beat
            try:
                exchange.pump(self._stop.is_set, late)
                self._lost = "" if self._stop.is_set() else "the host gave it up"
                return
            except DeadlineError:
                continue
            except (LostError, OSError) as error:
                self._lost = str(error)
                return
