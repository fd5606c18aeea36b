"""`apply` and `verify`: lock, read, change, read again, prove.

What happens once the hosts are connected is in carry.py, which is imported while they are.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.action.load import Loaded, Request
from provisioner.action.locks import lock
from provisioner.action.prepare import Prepared, connect, gather, prepare
from provisioner.action.start import Started
from provisioner.action.telling import started as run_started
from provisioner.action.telling import unchanged
from provisioner.engine.events import Emit, Note, RunEnded, RunStarted
from provisioner.engine.journal import journal
from provisioner.errors import ProvisionError, UnreachableError

if TYPE_CHECKING:
    from provisioner.action.planfile import Agreed
    from provisioner.engine.execute import Outcome
    from provisioner.engine.plan import Plan
    from provisioner.playbook.facts import Facts
    from provisioner.remote.lock import RemoteLock
    from provisioner.remote.pool import Pool


@dataclass(frozen=True)
class Result:
    """How a run ended, with the exit code for it."""

    outcome: Outcome
    exit_code: int


def apply(
    started: Started,
    emit: Emit,
    *,
    agreed: Agreed | None = None,
    confirm: Callable[[Sequence[str]], bool] = lambda _: True,
) -> Result:
    """Brings the hosts to what the inventory declares. Raises ProvisionError for what stops it before any change."""
    with journal(started.loaded.run, emit) as record:
        return _applied(started, record, agreed, confirm)


def _applied(
    started: Started,
    emit: Emit,
    agreed: Agreed | None,
    confirm: Callable[[Sequence[str]], bool],
) -> Result:
    loaded = started.loaded
    emit(_started(loaded, "apply"))
    with unchanged(_again(loaded.request, "apply")), ExitStack() as stack:
        pool = stack.enter_context(connect(loaded, started.begun))
        prepared, held = _locked(stack, loaded, pool, emit, changes=True)
        _check_between(prepared, pool, emit)
        from provisioner.action.carry import carry_out

        plan, outcome = carry_out(prepared, pool, emit, stack, held, agreed, confirm)
        _keep_no_copy(prepared, plan, outcome)
        extra = {"execs": pool.execs, "resources": plan.resources}
    emit(_ended(loaded, outcome, time.monotonic() - started.time, extra, left=outcome.left(plan)))
    return Result(outcome, outcome.exit_code)


def _check_between(prepared: Prepared, pool: Pool, emit: Emit) -> None:
    """Where hosts join, whether they and the others hear each other. Raises ProvisionError with all that is lost."""
    spec = prepared.loaded.spec
    if spec is None or spec.existing is not None:
        return
    from provisioner.action.newcomers import newcomers

    fresh = newcomers(spec, prepared.facts)
    if fresh:
        from provisioner.action.between import Between

        try:
            Between(prepared.loaded.inventory, spec, prepared.facts, fresh).run(pool, emit)
        except ProvisionError as fault:
            if spec.firewall != "ignore" or isinstance(fault, UnreachableError):
                raise
            emit(Note(level="warning", message=fault.reason, hint=fault.hint))


def _keep_no_copy(prepared: Prepared, plan: Plan, outcome: Outcome) -> None:
    """Once a control plane's state was read back, or was there before, this machine keeps none of its keys."""
    if prepared.cluster is None:
        return
    from provisioner.action.pending import drop_pending, has_saved

    if prepared.fresh is None or has_saved(plan, outcome):
        drop_pending(prepared.cluster.uuid)


def verify(
    started: Started,
    emit: Emit,
    *,
    failover: bool = False,
    confirm: Callable[[Sequence[str]], bool] = lambda _: True,
) -> tuple[Plan, Result]:
    """Reads everything and runs the gates that are always run; changes nothing on the hosts but the checks' pods. With
    `failover` it then breaks load balancers, which mend themselves, if `confirm` says so. Raises ConsentError if not.
    """
    loaded = started.loaded
    if failover:
        from provisioner.action.consent import check_consent
        from provisioner.action.failoversite import check_failover

        with unchanged(""):
            check_consent(check_failover(loaded), confirm)
    emit(_started(loaded, "verify"))
    with unchanged(_again(loaded.request, "verify")), ExitStack() as stack:
        pool = stack.enter_context(connect(loaded, started.begun))
        # Its checks make objects and take them away: not beside another run's.
        prepared, _ = _locked(stack, loaded, pool, emit, changes=False)
        from provisioner.action.carry import prove

        plan, outcome = prove(prepared, pool, emit)
        if failover and outcome.ok:
            from provisioner.action.failovertest import tried

            tried(prepared, pool, emit, outcome)
    seconds = time.monotonic() - started.time
    emit(_ended(loaded, outcome, seconds, {"drift": plan.count}, command="verify"))
    return plan, Result(outcome, 0 if outcome.ok and not plan.count else 1)


def _locked(
    stack: ExitStack, loaded: Loaded, pool: Pool, emit: Emit, *, changes: bool
) -> tuple[Prepared, dict[str, RemoteLock]]:
    """The run's lock, and what it is to do. The facts are gathered while the lock is taken: a host that another run
    changes until its own lock is taken is read again (action.undisturbed)."""
    facts: dict[str, Facts] = {}
    held = lock(stack, pool, loaded, [loaded.state_host], lambda: facts.update(gather(loaded, pool)))
    return prepare(loaded, pool, emit, facts, changes=changes), held


def _started(loaded: Loaded, command: str) -> RunStarted:
    return run_started(loaded, command, _options(loaded.request))


def _ended(
    loaded: Loaded,
    outcome: Outcome,
    seconds: float,
    extra: dict[str, int],
    command: str = "apply",
    left: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> RunEnded:
    changed = Counter({name: count for name, count in outcome.changed.items() if count})
    return RunEnded(
        run=loaded.run,
        ok=outcome.ok,
        seconds=seconds,
        changed=dict(changed),
        phases=dict(outcome.seconds),
        resume="" if outcome.ok else _again(loaded.request, command),
        left=dict(left),
        extra=extra,
    )


def _again(request: Request, command: str) -> str:
    """The command line that goes on with this run."""
    return shlex.join(["provision", command, str(request.inventory), *_options(request)])


def _options(request: Request) -> list[str]:
    words: list[str] = []
    if request.playbook:
        words += ["--playbook", str(request.playbook)]
    if request.limit:
        words += ["--limit", request.limit]
    if request.selection.tags:
        words += ["--tags", ",".join(sorted(request.selection.tags))]
    for stage in sorted(request.selection.stages):
        words += ["--stage", stage]
    return words
