"""`apply` and `verify`: lock, read, change, read again, prove."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from provisioner.action.gates import gates_of
from provisioner.action.load import Loaded, Prepared, Request, connect, load, prepare
from provisioner.action.plan import plan_of
from provisioner.action.planfile import Agreed, check_agreed
from provisioner.engine.danger import dangers
from provisioner.engine.events import Emit, RunEnded, RunStarted
from provisioner.engine.execute import Executor, Outcome
from provisioner.engine.hostwork import HostWork
from provisioner.engine.journal import journal
from provisioner.engine.plan import Plan
from provisioner.errors import ProvisionError
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool


@dataclass(frozen=True)
class Result:
    """How a run ended, with the exit code for it."""

    outcome: Outcome
    exit_code: int


def apply(
    request: Request,
    emit: Emit,
    *,
    agreed: Agreed | None = None,
    confirm: Callable[[Sequence[str]], bool] = lambda _: True,
) -> Result:
    """Brings the hosts to what the inventory declares. Raises ProvisionError for what stops it before any change."""
    began = time.monotonic()
    loaded = load(request)
    emit = journal(loaded.run, emit)
    emit(RunStarted(run=loaded.run, command="apply", inventory=str(request.inventory), hosts=loaded.hosts))
    with ExitStack() as stack:
        pool = stack.enter_context(connect(loaded))
        lock(stack, pool, loaded, [loaded.state_host])
        prepared = prepare(loaded, pool, emit)
        plan = plan_of(prepared, pool, emit, texts=True)
        if agreed is not None:
            check_agreed(plan, agreed)
        reasons = dangers(plan, established=prepared.established)
        if reasons and not confirm(reasons):
            told = "\n".join(f"  {reason}" for reason in reasons)
            raise ProvisionError(
                f"nothing was changed: this needs your consent:\n{told}", "add --yes to go ahead"
            )
        lock(stack, pool, loaded, [host for host in plan.changed_hosts() if host != loaded.state_host])
        work = HostWork(pool, prepared.kinds, emit, loaded.run)
        outcome = Executor(work, gates_of(prepared, pool), emit, each=pool.each).run(plan)
        extra = {"execs": pool.execs, "resources": plan.resources}
    emit(_ended(loaded, outcome, time.monotonic() - began, extra))
    return Result(outcome, outcome.exit_code)


def verify(request: Request, emit: Emit) -> tuple[Plan, Result]:
    """Reads everything and runs the gates that are always run; changes nothing on the hosts but the checks' pods."""
    began = time.monotonic()
    loaded = load(request)
    emit(RunStarted(run=loaded.run, command="verify", inventory=str(request.inventory), hosts=loaded.hosts))
    with connect(loaded) as pool:
        prepared = prepare(loaded, pool, emit)
        plan = plan_of(prepared, pool, emit)
        outcome = _gates_only(prepared, plan, pool, emit)
    emit(_ended(loaded, outcome, time.monotonic() - began, {"drift": plan.count}, command="verify"))
    return plan, Result(outcome, 0 if outcome.ok and not plan.count else 1)


def _gates_only(prepared: Prepared, plan: Plan, pool: Pool, emit: Emit) -> Outcome:
    bare = replace(plan, stages=tuple(replace(stage, changes={}) for stage in plan.stages))
    work = HostWork(pool, prepared.kinds, emit, prepared.loaded.run)
    return Executor(work, gates_of(prepared, pool), emit).run(bare)


def lock(stack: ExitStack, pool: Pool, loaded: Loaded, hosts: Iterable[str]) -> None:
    """Takes the run lock of `hosts`, in parallel; released when `stack` closes. Raises LockedError."""
    wanted = list(hosts)
    locks = {host: RemoteLock(lambda h=host: pool.dial(h), "run", loaded.holder) for host in wanted}  # type: ignore[misc]

    def take(host: str) -> None:
        locks[host].acquire()

    answers = pool.each(wanted, take)
    for held in locks.values():
        stack.callback(held.release)
    for fault in answers.values():
        if isinstance(fault, Exception):
            raise fault


def _ended(
    loaded: Loaded, outcome: Outcome, seconds: float, extra: dict[str, int], command: str = "apply"
) -> RunEnded:
    changed = Counter({name: count for name, count in outcome.changed.items() if count})
    return RunEnded(
        run=loaded.run,
        ok=outcome.ok,
        seconds=seconds,
        changed=dict(changed),
        phases=dict(outcome.seconds),
        resume="" if outcome.ok else _again(loaded.request, command),
        extra=extra,
    )


def _again(request: Request, command: str) -> str:
    """The command line that goes on with this run."""
    words = ["provision", command, str(request.inventory)]
    if request.playbook:
        words += ["--playbook", str(request.playbook)]
    if request.limit:
        words += ["--limit", request.limit]
    if request.selection.tags:
        words += ["--tags", ",".join(sorted(request.selection.tags))]
    for stage in sorted(request.selection.stages):
        words += ["--stage", stage]
    return shlex.join(words)
