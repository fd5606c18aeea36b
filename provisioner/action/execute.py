"""`exec`: a command of the user's on many hosts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from provisioner.action.connect import connect_to
from provisioner.engine.events import Answer
from provisioner.errors import UnreachableError
from provisioner.inventory.model import load_inventory
from provisioner.remote.session import Session
from provisioner.shell.script import Script


def execute(
    inventory_path: Path, pattern: str, words: Sequence[str], timeout: float, show: Callable[[Answer], None]
) -> int:
    """Runs it everywhere, shows each answer as it comes. Returns 0, 1 when some host's command failed, 4 when some host
    was not reached."""
    inventory = load_inventory(inventory_path)
    hosts = [host.name for host in inventory.match(pattern)]
    line = words[0] if len(words) == 1 else shlex.join(words)
    statuses: list[int] = []

    def ask(session: Session) -> None:
        result = session.run(Script(f"/bin/sh -c {shlex.quote(line)}\n"), deadline=timeout, what=line)
        texts = result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
        show(Answer(host=session.host, status=result.status, stdout=texts[0], stderr=texts[1]))
        statuses.append(1 if result.status else 0)

    with connect_to(inventory) as pool:
        answers = pool.map(hosts, ask)
    for host, fault in answers.items():
        if isinstance(fault, Exception):
            show(Answer(host=host, error=str(fault).removeprefix(f"{host}: ")))
            statuses.append(4 if isinstance(fault, UnreachableError) else 1)
    return max(statuses, default=0)
