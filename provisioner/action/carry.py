"""What a run does once its hosts are connected and its wishes are compiled: plan, ask, change, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from provisioner.action.gates import gates_of
from provisioner.action.load import Prepared
from provisioner.action.locks import lock
from provisioner.action.plan import plan_of
from provisioner.action.planfile import Agreed, check_agreed
from provisioner.engine.danger import dangers
from provisioner.engine.events import Emit
from provisioner.engine.execute import Executor, Outcome
from provisioner.engine.hostwork import HostWork
from provisioner.engine.ownership import Ownership
from provisioner.engine.plan import Plan
from provisioner.errors import ProvisionError
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool


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
    state host's.

    Raises ProvisionError for what stops it before any change.
    """
    plan = plan_of(prepared, pool, emit, texts=False)
    if agreed is not None:
        check_agreed(plan, agreed)
    reasons = dangers(plan, established=prepared.established)
    if reasons and not confirm(reasons):
        told = "\n".join(f"  {reason}" for reason in reasons)
        raise ProvisionError(
            f"nothing was changed: this needs your consent:\n{told}", "add --yes to go ahead"
        )
    loaded = prepared.loaded
    hosts = [host for host in plan.changed_hosts() if host != loaded.state_host]
    locks = {**held, **lock(stack, pool, loaded, hosts)}

    def guard(host: str) -> None:
        for each in {loaded.state_host, host} & set(locks):
            locks[each].ensure()

    ownership = Ownership(loaded.run, loaded.playbook_name, prepared.owned, prepared.kinds)
    work = HostWork(pool, prepared.kinds, emit, loaded.run, guard=guard, ownership=ownership)
    return plan, Executor(work, gates_of(prepared, pool), emit, each=pool.each).run(plan)


def prove(prepared: Prepared, pool: Pool, emit: Emit) -> tuple[Plan, Outcome]:
    """Plans, and runs the gates that are always run; changes nothing but what gates make and take away."""
    plan = plan_of(prepared, pool, emit)
    bare = replace(plan, stages=tuple(replace(stage, changes={}) for stage in plan.stages))
    work = HostWork(pool, prepared.kinds, emit, prepared.loaded.run)
    return plan, Executor(work, gates_of(prepared, pool), emit).run(bare)
