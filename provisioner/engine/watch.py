"""What a run started has to stay: a program that dies a moment after its start looks well to the reading behind it.

So each is asked once more when it is AGE old, at the next place where the run stops anyway: after a segment, when a
gate did not pass (its cause may well be here), and at the end, the only place where a run waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

from provisioner.engine.events import Failed
from provisioner.engine.read import Sessions, answered
from provisioner.errors import ProvisionError
from provisioner.resources.model import AnyKind, Change, Lasting
from provisioner.shell.assemble import ProbeAnswer, probe_script
from provisioner.shell.script import Script

AGE = 1.0
"""Seconds after which what still runs as it was started counts as running."""


@dataclass(frozen=True)
class _Started:
    stage: str
    change: Change
    fragment: Script
    moment: float


class Watch:
    """What a run started, by host, until it was asked."""

    def __init__(self, sessions: Sessions, kinds: Mapping[str, AnyKind]) -> None:
        self._sessions = sessions
        self._kinds = kinds
        self._started: dict[str, list[_Started]] = {}
        self._mutex = Lock()

    def add(self, host: str, stage: str, changes: Iterable[Change]) -> None:
        """Those of the `changes`, made just now, that started something are asked later."""
        now = time.monotonic()
        for change in changes:
            kind = self._kinds[change.resource.kind]
            fragment = kind.stays(change) if isinstance(kind, Lasting) else None
            if fragment is not None:
                with self._mutex:
                    self._started.setdefault(host, []).append(_Started(stage, change, fragment, now))

    def hosts(self, age: float = 0.0) -> tuple[str, ...]:
        """Hosts on which something is at least `age` seconds old."""
        late = time.monotonic() - age
        with self._mutex:
            return tuple(h for h, those in self._started.items() if any(e.moment <= late for e in those))

    def wait(self) -> None:
        """Sleeps until all is AGE old; at once when there is nothing."""
        with self._mutex:
            youngest = max((each.moment for those in self._started.values() for each in those), default=0.0)
        time.sleep(max(0.0, youngest + AGE - time.monotonic()))

    def ask(self, host: str, age: float = 0.0) -> list[Failed]:
        """Asks for what is at least `age` seconds old on the host, and forgets it; what did not stay."""
        late = time.monotonic() - age
        with self._mutex:
            those = self._started.pop(host, [])
            asked = [each for each in those if each.moment <= late]
            if len(asked) < len(those):
                self._started[host] = [each for each in those if each.moment > late]
        if not asked:
            return []
        try:
            result = self._sessions.session(host).run(
                probe_script([each.fragment for each in asked]),
                deadline=60,
                what="the question whether what was started runs on",
            )
            answers = answered(host, result.stdout, result.stderr, len(asked))
        except ProvisionError as fault:
            return [_failed(host, asked[0], fault.reason, hint=fault.hint, exit_code=fault.exit_code)]
        return [_fell(host, each, answers[i]) for i, each in enumerate(asked) if answers[i].status != 0]


def _fell(host: str, started: _Started, answer: ProbeAnswer) -> Failed:
    first, _, rest = answer.stdout.decode(errors="replace").strip().partition("\n")
    reason = f"was started, and did not stay: {first or 'nothing is known of it'}"
    return _failed(host, started, reason, rest, hint="its own last words are above: mend that, and run again")


def _failed(
    host: str, started: _Started, reason: str, said: str = "", *, hint: str, exit_code: int = 1
) -> Failed:
    return Failed(
        stage=started.stage,
        host=host,
        resource=started.change.resource.id,
        reason=reason,
        stderr=said,
        hint=hint,
        exit_code=exit_code,
        done=(started.change.resource.id,),
    )
