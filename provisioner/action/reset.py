"""`reset`: a whole cluster is taken down, and its hosts are left as they were before it.

All hosts are read and locked first, and what will be lost is told and asked for; then they are cleared side by side,
since nothing of the cluster is to stay up. Each finds its work done when the same command comes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from provisioner.action.clearing import Clearing, clear, going, packages_of, stores
from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.keeping import NOTHING, Keep, check_keep
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.prepare import Prepared, compile_with, gather
from provisioner.action.telling import telling, unchanged
from provisioner.engine.events import Emit, Failed, Note, Step
from provisioner.errors import InputError, Problem, ProvisionError, UnreachableError
from provisioner.inventory.aliases import CONTROL_PLANE, ETCD, REGISTRY
from provisioner.kube.held import held_script, images_script, parse_held, parse_images
from provisioner.playbook.distributions import distribution_of
from provisioner.playbook.facts import Facts
from provisioner.registry.names import repository
from provisioner.remote.pool import Pool
from provisioner.shell.script import Script

Confirm = Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Reset:
    """What the user asked for. `packages`: also those go that came by us."""

    keep: Keep = NOTHING
    packages: bool = False

    @property
    def words(self) -> list[str]:
        keep = ["--keep", ",".join(self.keep.names)] if self.keep.names else []
        return [*keep, *["--packages"] * self.packages]


def reset(loaded: Loaded, wanted: Reset, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError and UnreachableError before anything is changed."""
    check_keep(loaded, wanted.keep)
    check_own(loaded)
    with telling(loaded, "reset", wanted.words, emit) as told, ExitStack() as stack:
        pool = stack.enter_context(connect_to(loaded.inventory, loaded.hosts))
        facts = _read(loaded, stack, pool)
        with unchanged(""):
            prepared = compile_with(loaded, facts, told.record, for_show=True, ending=True)
            check_remembered(prepared)
        changed = _reset(prepared, wanted, pool, told.record, confirm)
        told.ok = None not in changed.values()
        told.changed = {host: count for host, count in changed.items() if count}
        told.execs = pool.execs
    return 0 if told.ok else 1


def check_own(loaded: Loaded) -> None:
    """Raises InputError for a cluster of others."""
    if loaded.spec is not None and loaded.spec.existing is not None:
        reason = "this cluster was built by others: what they have put on its hosts is not taken away"
        hint = "take it down by their means; `provision migrate --rollback` brings back the pod network that it had"
        raise InputError([Problem(*loaded.inventory.origin(None, "cluster", "existing"), reason, hint)])


def check_remembered(prepared: Prepared) -> None:
    """Raises ProvisionError for hosts of the cluster that do not know any more what is its own there."""
    lost = [
        host
        for host, each in prepared.facts.items()
        if (each.mark or each.state) and not going(prepared, host)
    ]
    if lost:
        raise ProvisionError(
            f"{', '.join(lost)}: in the cluster, and /var/lib/provision/owned is gone or damaged, which tells what is "
            "the cluster's own there: nothing could be taken away",
            "bring the file back; or wipe the disk, and take the host out of the inventory",
        )


def _read(loaded: Loaded, stack: ExitStack, pool: Pool) -> dict[str, Facts]:
    """Locks all hosts and reads them. Raises UnreachableError naming all that do not answer."""
    facts: dict[str, Facts] = {}
    try:
        lock(stack, pool, loaded, loaded.hosts, lambda: facts.update(gather(loaded, pool)))
    except UnreachableError as fault:
        raise _all_have_to(loaded, fault) from None
    except ProvisionError as fault:
        fault.unchanged = True
        raise
    return facts


def _all_have_to(loaded: Loaded, lost: UnreachableError) -> UnreachableError:
    """`lost` with what is to be done about hosts that are gone for good."""
    hint = (
        "a reset begins when all hosts answer: one that comes back later would have its keys, and look for it."
        f" Who is gone for good leaves first (provision remove {loaded.request.inventory} HOST --dead), or is taken out"
        " of the inventory, and its disk wiped"
    )
    fault = UnreachableError(lost.reason, f"{lost.hint}\n{hint}" if lost.hint else hint)
    fault.unchanged = True
    return fault


def _reset(
    prepared: Prepared, wanted: Reset, pool: Pool, emit: Emit, confirm: Confirm
) -> dict[str, int | None]:
    """By host what was taken away, None where that failed."""
    hosts = prepared.loaded.hosts
    having = [host for host in hosts if going(prepared, host, wanted.keep)]
    if having:
        for line in _told(prepared, wanted, pool, having):
            emit(Note(message=line))
        with unchanged(""):
            check_consent(["what is told above is lost for good"], confirm)
    else:
        emit(
            Note(
                message="no host has anything of this cluster that could be lost: they are looked at once more"
            )
        )
    clearing = Clearing(whole=True, keep=wanted.keep, packages=wanted.packages)

    def work(host: str) -> int:
        began = time.monotonic()
        count = clear(prepared, pool, host, prepared.facts[host], emit, clearing)
        emit(Step(task="cleared", subject=host, seconds=time.monotonic() - began, changed=count > 0))
        return count

    found: dict[str, int | None] = {}
    for host, answer in pool.each(hosts, work).items():
        found[host] = answer if isinstance(answer, int) else None
        if isinstance(answer, ProvisionError):
            emit(Failed(stage="reset", host=host, resource="", reason=answer.reason, hint=answer.hint))
        elif isinstance(answer, Exception):
            raise answer
    return found


def _told(prepared: Prepared, wanted: Reset, pool: Pool, hosts: Sequence[str]) -> list[str]:
    """What will be lost, by what the cluster has now, as far as it can be asked; `hosts` have something of it."""
    loaded = prepared.loaded
    etcd = [each.name for each in loaded.inventory.group(ETCD)]
    name = loaded.spec.name if loaded.spec else ""
    told = [f"the cluster {name} ends, and with it all that its etcd holds ({', '.join(etcd)})"]
    planes = [each.name for each in loaded.inventory.group(CONTROL_PLANE)]
    answers = (_asked(pool, host, held_script()) for host in planes)
    told += [f"  {line}" for line in parse_held(next(filter(None, answers), ""))]
    for host in hosts:
        told.append(f"{host}: {_lost(prepared, host, wanted)}")
        told += _stored(prepared, host, wanted, pool)
    return told


def _stored(prepared: Prepared, host: str, wanted: Reset, pool: Pool) -> list[str]:
    """What a registry there has, which goes with it."""
    loaded, keep, playbook = prepared.loaded, wanted.keep, prepared.memory.playbook
    known = prepared.memory.owned.get(host, {})
    if keep.registry or keep.bundle or not stores(known, prepared.facts[host], playbook):
        return []
    bundled = loaded.bundle.images() if loaded.bundle else ()
    again = {f"{repository(each.name)}:{each.tag}" for each in bundled}
    storage = distribution_of(prepared.facts[host]).registry_storage
    said = parse_images(_asked(pool, host, images_script(storage)), again)
    return [f"  {said}"] if said else []


def _asked(pool: Pool, host: str, script: Script) -> str:
    """What it prints; nothing where it cannot be asked."""
    try:
        return pool.session(host).run(script, deadline=60).stdout.decode(errors="replace")
    except ProvisionError:
        return ""


def _lost(prepared: Prepared, host: str, wanted: Reset) -> str:
    groups = prepared.loaded.inventory.hosts[host].groups
    lost = "services, data and all that provision has put there are deleted"
    kept = ["programs, images and packages"] * wanted.keep.bundle
    kept += ["the registry with its images"] * (wanted.keep.registry and REGISTRY in groups)
    packages = packages_of(prepared.memory.owned.get(host, {}), prepared.memory.playbook)
    if packages and wanted.packages:
        lost += ", with what it installed and nothing else needs"
    elif packages and not wanted.keep.bundle:
        kept.append(f"the packages {', '.join(packages)}, which go only with --packages")
    return f"{lost}, but for {', and '.join(kept)}" if kept else lost
