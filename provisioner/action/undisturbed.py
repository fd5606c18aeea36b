"""What was read must still hold when the host is locked: between the two another run, or what one that was killed left
running, may have changed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.engine.events import Emit, Note
from provisioner.errors import LockedError, ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.shell.worklock import BUSY, LOCK_SECONDS, after_others

_ASK = "cat /var/lib/provision/last-change 2>/dev/null || :"


def disturbed(facts: Mapping[str, Facts], pool: Pool, hosts: Sequence[str], emit: Emit) -> list[str]:
    """Those of `hosts`, which are locked by this run, that a script of ours has changed since `facts` were gathered.

    Waits for scripts that still run there. Raises LockedError when one does not end, UnreachableError.
    """

    def ask(session: Session) -> str:
        said = bytearray()

        def hear(data: bytes) -> None:
            if not said and data.startswith(b"waiting"):
                emit(Note(message=f"{session.host}: waiting for a script of an earlier run to end"))
            said.extend(data)

        result = session.run(
            after_others(_ASK),
            deadline=LOCK_SECONDS + 30,
            on_stdout=hear,
            what="the wait for scripts of earlier runs",
        )
        if result.status != 0:
            words = result.stderr.decode(errors="replace").strip()
            kind = LockedError if result.status == BUSY else ProvisionError
            raise kind(
                f"{session.host}: {words}", "look at what hangs there: `fuser -v /run/provision/work.lock`"
            )
        return said.decode(errors="replace").removeprefix("waiting\n").strip()

    moved = []
    for host, answer in pool.map(hosts, ask).items():
        if isinstance(answer, Exception):
            raise answer
        if answer != facts[host].last_change:
            moved.append(host)
    return moved
