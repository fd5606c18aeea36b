"""What a run does once its hosts are connected and its wishes are compiled: plan, ask, change, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from provisioner.action.consent import check_consent
from provisioner.action.gates import gates_of
from provisioner.action.locks import lock
from provisioner.action.plan import plan_of
from provisioner.action.planfile import Agreed, check_agreed
from provisioner.action.prepare import Prepared, prepare
from provisioner.action.registryaccess import check_outside
from provisioner.action.undisturbed import disturbed
from provisioner.engine.danger import dangers
from provisioner.engine.events import Emit, Event, Failed, Note
from provisioner.engine.execute import Executor, Outcome
from provisioner.engine.hostwork import HostWork
from provisioner.engine.ownership import Ownership
from provisioner.engine.plan import Plan
from provisioner.engine.watch import Watch
from provisioner.errors import LockedError
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool

_READINGS = 5
"""How often a run reads anew because others change what it has read, before it gives way."""


def carry_out(
    prepared: Prepared,
    pool: Pool,
    emit: Emit,
    stack: ExitStack,
    held: Mapping[str, RemoteLock],
    agreed: Agreed | None,
    confirm: Callable[[Sequence[str]], bool],
) -> tuple[Plan, Outcome]:
    """Plans, asks where it has to, locks the hosts that change (until `stack` closes) and changes them. `held` are the
    locks that the run has already; a host whose lock is lost begins no further stage, nor does any host without the
    state host's. A host that changed between its reading and its lock is read again, and with it all others.

    Raises ProvisionError for what stops it before any change.
    """
    loaded, locks, agreed_to = prepared.loaded, dict(held), set[str]()
    for _ in range(_READINGS):
        plan = plan_of(prepared, pool, emit, texts=False)
        check_outside(prepared, plan)
        if agreed is not None:
            check_agreed(plan, agreed)
        _ask_for(plan, prepared, confirm, agreed_to)
        changed = plan.changed_hosts()
        locks |= lock(stack, pool, loaded, [host for host in changed if host not in locks])
        moved = disturbed(prepared.facts, pool, changed, emit)
        if not moved:
            return plan, _run(_executor(prepared, pool, emit, locks), plan, pool)
        emit(Note(message=f"{', '.join(moved)}: changed by another run since it was read; reading all again"))
        prepared = prepare(loaded, pool, emit)
    raise LockedError(
        f"{', '.join(moved)}: changed by another run each time that it was read", "wait for that run to end"
    )


def _run(executor: Executor, plan: Plan, pool: Pool) -> Outcome:
    try:
        return executor.run(plan)
    except BaseException:
        # Interrupted: nobody goes on working once the locks are given back.
        pool.close()
        raise


def _ask_for(
    plan: Plan, prepared: Prepared, confirm: Callable[[Sequence[str]], bool], agreed_to: set[str]
) -> None:
    """Asks for the plan's dangers that are not in `agreed_to` yet. Raises ConsentError without it."""
    reasons = [each for each in dangers(plan, established=prepared.established) if each not in agreed_to]
    check_consent(reasons, confirm)
    agreed_to.update(reasons)


def _executor(prepared: Prepared, pool: Pool, emit: Emit, locks: Mapping[str, RemoteLock]) -> Executor:
    loaded = prepared.loaded

    def guard(host: str) -> None:
        for each in {loaded.state_host, host} & set(locks):
            locks[each].ensure()

    def told(event: Event) -> None:
        # An interrupted run hangs up; that its scripts then fail is no news.
        if not (pool.closed and isinstance(event, Failed)):
            emit(event)

    watch = Watch(pool, prepared.kinds)
    ownership = Ownership(loaded.run, prepared.memory.playbook, prepared.memory.owned, prepared.kinds)
    work = HostWork(pool, prepared.kinds, told, loaded.run, guard=guard, watch=watch, ownership=ownership)
    return Executor(work, gates_of(prepared, pool, told, watch), told, each=pool.each, watch=watch)


def prove(prepared: Prepared, pool: Pool, emit: Emit) -> tuple[Plan, Outcome]:
    """Plans, and runs the gates that are always run; changes nothing but what gates make and take away."""
    plan = plan_of(prepared, pool, emit)
    bare = replace(plan, stages=tuple(replace(stage, changes={}) for stage in plan.stages))
    work = HostWork(pool, prepared.kinds, emit, prepared.loaded.run)
    return plan, Executor(work, gates_of(prepared, pool, emit, Watch(pool, prepared.kinds)), emit).run(bare)
