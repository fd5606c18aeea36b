"""`trust`: the hosts' keys are shown and remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from provisioner.action.connect import connect_to, known_hosts_files, trusting
from provisioner.action.reach import all_reached
from provisioner.engine.events import Emit, Note, Step
from provisioner.errors import UnreachableError
from provisioner.inventory.model import load_inventory
from provisioner.remote.hostkeys import KnownHosts, Offered, enrol


def trust(
    inventory_path: Path, limit: str | None, target: Path | None, emit: Emit, agree: Callable[[str], bool]
) -> None:
    """Asks every host for its key and adds the new ones to `target`.

    Raises UnreachableError naming every host that does not answer, or one whose key is another than before.
    """
    inventory = load_inventory(inventory_path)
    hosts = inventory.match(limit or "all")
    known = KnownHosts.load(known_hosts_files(inventory), trusting(inventory))
    path = target or inventory.path.parent / "known_hosts"
    new: list[Offered] = []
    with connect_to(inventory) as pool:
        answers = all_reached(pool.each([host.name for host in hosts], pool.offered))
    for host in hosts:
        offered = answers[host.name]
        fingerprint = offered.key.fingerprint
        if known.known(offered.address, offered.port):
            _check(host.name, known, offered)
            emit(Step(task="known", subject=f"{host.name} {fingerprint}", changed=False))
        else:
            emit(Note(message=f"{host.name}  {offered.address}  {fingerprint}"))
            new.append(offered)
    if not new:
        return
    if not agree("Trust this key?" if len(new) == 1 else f"Trust these {len(new)} keys?"):
        raise UnreachableError(
            "no key was enrolled", "compare the fingerprints and run it again, or use --yes"
        )
    for each in new:
        enrol(path, each.address, each.port, each.key)
    emit(Note(message=f"{len(new)} key{'s' * (len(new) != 1)} enrolled in {path}"))


def _check(host: str, known: KnownHosts, offered: Offered) -> None:
    try:
        known.check(offered.address, offered.port, offered.key)
    except UnreachableError as fault:
        raise UnreachableError(f"{host}: {fault.reason}", fault.hint) from fault
