"""A host that leaves is left as it was before: what the tool remembers of it goes, and pods and data with it."""

from __future__ import annotations

from provisioner.action.prepare import Prepared
from provisioner.engine.events import Emit, Note
from provisioner.engine.execute import Executor
from provisioner.engine.hostwork import HostWork
from provisioner.engine.ownership import Ownership, leftovers
from provisioner.engine.planner import Planner
from provisioner.errors import ProvisionError
from provisioner.kube.halt import clear_script, halt_script
from provisioner.playbook.distributions import distribution_of
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.resources.model import Owned
from provisioner.resources.owned import parse_owned
from provisioner.shell.script import Script

HALT_SECONDS = 300.0


def clear(
    prepared: Prepared, pool: Pool, host: str, facts: Facts, emit: Emit, *, images: bool = False
) -> int:
    """Ends what runs there for the cluster, takes away what the shipped playbook has put there, and then the cluster's
    data; with `images` those that a registry there keeps. Packages stay, as does what others have put beside ours,
    which is told.

    Returns how many things were taken away. Raises ProvisionError."""
    known = {host: parse_owned(facts.owned)}
    _run(pool, host, halt_script({each.name for each in known[host].values() if each.kind == "systemd"}))
    stage = leftovers((), known, prepared.memory.playbook, prepared.kinds)
    plan = Planner(pool, prepared.kinds).plan([stage], inventory="", inputs="", texts=False)
    run = prepared.loaded.run
    ownership = Ownership(run, prepared.memory.playbook, known, prepared.kinds)
    outcome = Executor(HostWork(pool, prepared.kinds, emit, run, ownership=ownership), {}, emit).run(plan)
    if not outcome.ok:
        failure = outcome.failures[0]
        raise ProvisionError(f"{host}: {failure.resource}: {failure.reason}", failure.hint)
    ours = {prepared.memory.playbook}
    others = any(each.playbooks - ours for each in known[host].values())
    storage = distribution_of(facts).registry_storage if images else ""
    made = [each.name for each in known[host].values() if _is_folder_of_ours(each)]
    left = _run(pool, host, clear_script(others=others, made=made, storage=storage)).split()
    if left:
        emit(Note(message=f"{host}: {', '.join(left)} stay: others have put something there"))
    return sum(outcome.changed.values())


def _is_folder_of_ours(owned: Owned) -> bool:
    return owned.kind == "file" and owned.wanted.get("type") == "directory" and not owned.before


def _run(pool: Pool, host: str, script: Script) -> str:
    result = pool.session(host).run(script, deadline=HALT_SECONDS)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(
            f"{host}: clearing it failed: {said}", "mend that and run the same command again"
        )
    return result.stdout.decode(errors="replace")
