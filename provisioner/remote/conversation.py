"""A script that is spoken to while it runs: it reads what is said from descriptor 3, and its lines are heard as they
come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from provisioner.errors import ProvisionError
from provisioner.remote import frame
from provisioner.remote.outcome import DeadlineError, LostError
from provisioner.remote.session import Session
from provisioner.shell.script import Script


class Conversation:
    """A context manager: when it is left the script's input ends. Use it from one thread at a time."""

    def __init__(self, session: Session, script: Script, what: str) -> None:
        """Begins the script. `what` names it in errors. Raises UnreachableError."""
        self._session, self._what = session, what
        self._heard = bytearray()
        head = frame.archive(script)
        self._exchange = session.start(len(head), on_stdout=self._heard.extend, what=what)
        self._exchange.send([head], len(head), end=False)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; the script's input ends."""
        self._exchange.close()

    @property
    def lines(self) -> Sequence[str]:
        """All that it has said so far, in whole lines."""
        return self._heard.decode(errors="replace").split("\n")[:-1]

    def hear(self, enough: Callable[[Sequence[str]], bool], seconds: float) -> bool:
        """Listens until that is `enough`; False when it is not within `seconds`. Raises UnreachableError when the host
        is lost, ProvisionError when the script ended before."""
        until = time.monotonic() + seconds
        try:
            self._session.await_start(self._exchange, until)
            if self._exchange.pump(lambda: enough(self.lines), until):
                return True
            result = self._exchange.finish(time.monotonic() + 2.0)
        except DeadlineError:
            return False
        except LostError as error:
            raise LostError(
                f"{self._session.host}: {error.reason}, while running {self._what}", error.hint
            ) from error
        self._session.check_begun(self._exchange, result, self._what)
        words = self._exchange.stderr.decode(errors="replace").strip()[-500:]
        raise ProvisionError(f"{self._session.host}: {self._what} ended early: {words or result.status}")

    def say(self, text: str) -> None:
        data = text.encode()
        self._exchange.send([data], len(data), end=False)

    def end(self, seconds: float) -> None:
        """Ends the script's input, and listens to its last words for that long. Raises LostError."""
        self._exchange.send([], 0)
        try:
            self._exchange.finish(time.monotonic() + seconds)
        except DeadlineError:
            return
