"""`reset`: a whole cluster is taken down, and its hosts are left as they were before it.

All hosts are read and locked first, and what will be lost is told and asked for; then they are cleared side by side,
since nothing of the cluster is to stay up. Each finds its work done when the same command comes again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from provisioner.action.clearing import clear
from provisioner.action.connect import connect_to
from provisioner.action.consent import check_consent
from provisioner.action.load import Loaded
from provisioner.action.locks import lock
from provisioner.action.prepare import Prepared, compile_with, gather
from provisioner.engine.events import Emit, Failed, RunEnded, RunStarted, Step
from provisioner.engine.journal import journal
from provisioner.errors import ProvisionError
from provisioner.inventory.aliases import ETCD, REGISTRY
from provisioner.kube.halt import LOSSES
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.shell.script import Script

Confirm = Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Reset:
    """What the user asked for. `registry`: that is kept, with its images."""

    registry: bool = False


def reset(loaded: Loaded, wanted: Reset, emit: Emit, confirm: Confirm) -> int:
    """Returns the exit code. Raises InputError, ConsentError and UnreachableError before anything is changed."""
    began = time.monotonic()
    with journal(loaded.run, emit) as record:
        record(_started(loaded, wanted))
        with ExitStack() as stack:
            pool = stack.enter_context(connect_to(loaded.inventory, loaded.hosts))
            facts: dict[str, Facts] = {}
            lock(stack, pool, loaded, loaded.hosts, lambda: facts.update(gather(loaded, pool)))
            prepared = compile_with(loaded, facts, record, for_show=True)
            changed = _reset(prepared, wanted, pool, record, confirm)
            extra = {"execs": pool.execs}
        ok = None not in changed.values()
        counts = {host: count for host, count in changed.items() if count}
        seconds = time.monotonic() - began
        resume = "" if ok else _again(loaded, wanted)
        record(
            RunEnded(
                run=loaded.run, ok=ok, seconds=seconds, changed=counts, phases={}, resume=resume, extra=extra
            )
        )
    return 0 if ok else 1


def _reset(
    prepared: Prepared, wanted: Reset, pool: Pool, emit: Emit, confirm: Confirm
) -> dict[str, int | None]:
    """By host what was taken away, None where that failed."""
    loaded = prepared.loaded
    hosts = [each for each in loaded.hosts if not (wanted.registry and _is_registry(loaded, each))]
    check_consent(_told(prepared, hosts, pool), confirm)

    def work(host: str) -> int:
        began = time.monotonic()
        images = REGISTRY in loaded.inventory.hosts[host].groups
        count = clear(prepared, pool, host, prepared.facts[host], emit, images=images)
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


def _name(loaded: Loaded) -> str:
    return loaded.spec.name if loaded.spec else ""


def _started(loaded: Loaded, wanted: Reset) -> RunStarted:
    return RunStarted(
        run=loaded.run,
        command="reset",
        inventory=str(loaded.request.inventory),
        hosts=loaded.hosts,
        who=loaded.who,
        path=str(loaded.request.inventory.resolve()),
        options=" ".join(_options(wanted)),
    )


def _again(loaded: Loaded, wanted: Reset) -> str:
    return shlex.join(["provision", "reset", str(loaded.request.inventory), *_options(wanted)])


def _options(wanted: Reset) -> list[str]:
    return ["--keep", "registry"] if wanted.registry else []


def _is_registry(loaded: Loaded, host: str) -> bool:
    return loaded.inventory.hosts[host].groups == (REGISTRY,)


def _told(prepared: Prepared, hosts: Sequence[str], pool: Pool) -> list[str]:
    """What will be lost, by what the cluster has now, as far as it can be asked."""
    loaded = prepared.loaded
    etcd = [each.name for each in loaded.inventory.group(ETCD)]
    told = [f"the cluster {_name(loaded)} ends, and with it all that its etcd holds ({', '.join(etcd)})"]
    try:
        answer = pool.session(loaded.state_host).run(Script(LOSSES), deadline=20)
        told += [f"  {line}" for line in answer.stdout.decode().splitlines()]
    except ProvisionError as fault:
        told.append(f"  what that is cannot be asked: {fault.reason}")
    told += [f"{host}: services, data and all that provision has put there are deleted" for host in hosts]
    return told
