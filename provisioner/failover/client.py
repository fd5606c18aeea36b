"""A client that counts: a new connection each 50 ms, and beside it connections that stay and ask again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from types import TracebackType

from provisioner.errors import ProvisionError
from provisioner.failover.samples import Answer
from provisioner.failover.wire import Wire

BEAT = 0.05
"""Seconds between two new connections (issue: one each 50 ms)."""
_KEPT_BEAT = 0.1
_KEPT = 4
"""How many connections stay."""
PATIENCE = 2.0
"""Seconds after which a request without an answer has failed."""
_PATH = "/readyz?exclude=etcd&exclude=etcd-readiness"
"""Whether an API server serves, which everybody may ask without a name (control-plane/authentication.yaml.j2). What it
says of etcd is left out: a question of it that is under way while etcd elects a leader fails, and for a second all are
told so (kubernetes 1.33, storagebackend/factory/etcd3.go), though reads go on."""

Open = Callable[[float], Wire]
"""Makes a new connection until a moment on time.monotonic's clock. Raises OSError."""


@dataclass
class Line:
    """A connection that stays. `breaks` are the moments at which it was noticed to be broken."""

    answers: list[Answer] = field(default_factory=list)
    breaks: list[float] = field(default_factory=list)


class Client:
    """A context manager: it asks for as long as its block runs."""

    def __init__(self, connect: Open) -> None:
        self._open = connect
        self._over = Event()
        self._threads: list[Thread] = []
        self._asking: dict[int, float] = {}
        self.answers: list[Answer] = []
        """Of the new connections, in the order in which they ended."""
        self.lines = [Line() for _ in range(_KEPT)]

    def __enter__(self) -> Client:
        self._threads = [Thread(target=self._beat, daemon=True)]
        self._threads += [Thread(target=self._keep, args=(line,), daemon=True) for line in self.lines]
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if kind is None:
            for each in self._threads:
                each.join(2 * PATIENCE)

    def good_since(self, moment: float) -> int:
        """How many of the last requests in a row were answered well, all of them begun after `moment`."""
        count = 0
        for each in reversed(list(self.answers)):
            if each.began < moment or not each.well:
                break
            count += 1
        return count

    def await_good(self, count: int, since: float, seconds: float) -> bool:
        """Waits for `count` good answers in a row to requests since then; False when they do not come."""
        late = time.monotonic() + seconds
        while self.good_since(since) < count:
            if time.monotonic() > late:
                return False
            time.sleep(0.02)
        return True

    def await_kept(self, since: float, seconds: float) -> bool:
        """Waits until each connection that stays, or its successor, was answered well since then."""
        late = time.monotonic() + seconds
        while not all(line.answers and line.answers[-1].well_since(since) for line in self.lines):
            if time.monotonic() > late:
                return False
            time.sleep(0.02)
        return True

    def settle(self, end: float) -> None:
        """Waits until every request that began before `end` has ended."""
        late = time.monotonic() + 2 * PATIENCE
        while any(began <= end for began in list(self._asking.values())) and time.monotonic() < late:
            time.sleep(0.02)

    def _beat(self) -> None:
        due = time.monotonic()
        number = 0
        while not self._over.wait(max(0.0, due - time.monotonic())):
            number += 1
            self._asking[number] = time.monotonic()
            Thread(target=self._new, args=(number,), daemon=True).start()
            due = max(due + BEAT, time.monotonic())  # beats that were missed are not made up for

    def _new(self, number: int) -> None:
        began = self._asking[number]
        wire: Wire | None = None
        why = ""
        try:
            wire = self._open(began + PATIENCE)
            why = _fault(wire.ask(_PATH, began + PATIENCE))
        except (OSError, EOFError, ProvisionError) as fault:
            why = str(fault) or type(fault).__name__
        self.answers.append(Answer(began, time.monotonic(), not why, why))
        del self._asking[number]
        if wire is not None:
            wire.close()

    def _keep(self, line: Line) -> None:
        wire: Wire | None = None
        while not self._over.is_set():
            began = time.monotonic()
            kept, why = wire is not None, ""
            try:
                wire = wire or self._open(began + PATIENCE)
                why = _fault(wire.ask(_PATH, began + PATIENCE))
            except (OSError, EOFError, ProvisionError) as fault:
                why = str(fault) or type(fault).__name__
                if wire is not None:
                    wire.close()
                if kept:
                    line.breaks.append(time.monotonic())
                wire = None
            line.answers.append(Answer(began, time.monotonic(), not why, why))
            self._over.wait(max(0.0, began + (BEAT if why else _KEPT_BEAT) - time.monotonic()))
        if wire is not None:
            wire.close()


def _fault(answer: tuple[int, str]) -> str:
    """ "" for none. What an API server is not ready for it marks (kubernetes, apiserver/pkg/server/healthz)."""
    status, text = answer
    unready = [line[3:].partition(" ")[0] for line in text.splitlines() if line.startswith("[-]")]
    named = f" ({', '.join(unready[:3])})" if unready else ""
    return "" if status == 200 else f"the API server answered with status {status}{named}"
