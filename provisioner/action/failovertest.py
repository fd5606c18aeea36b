"""Where a test of fail-over stands in a run: behind `verify --failover`, and as the gate of new load balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.action.failover import try_faults
from provisioner.action.failoversite import GATE, Site, site_of
from provisioner.action.virtualrouter import BALANCES
from provisioner.engine.events import Emit, Failed, Note
from provisioner.engine.watch import AGE
from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    from provisioner.action.prepare import Prepared
    from provisioner.engine.events import FaultEnded
    from provisioner.engine.execute import Outcome
    from provisioner.engine.watch import Watch
    from provisioner.remote.pool import Pool

_STAGE = "fail-over"
_TRIED = "file:/var/lib/provision/fail-over-tried"
"""What a load balancer owns once its gate was passed (playbooks/endpoint.yaml)."""
_SURVIVED = 10.0
"""Seconds of outage with which a gate puts up: what is longer than it shall be is a warning there, because the
cluster works, and its hosts may be busy with being set up."""


def tried(prepared: Prepared, pool: Pool, emit: Emit, outcome: Outcome) -> None:
    """All faults, and the table; what is worse than it shall be is a failure of the `outcome`."""
    site = site_of(prepared, pool, emit)
    if site is None:
        fault = ProvisionError(
            "every host is a load balancer: there is none to look from", "add another host"
        )
        _fail(outcome, emit, fault)
        return
    try:
        report = try_faults(site, site.names())
    except ProvisionError as fault:
        _fail(outcome, emit, fault)
        return
    emit(report)
    for each in report.faults:
        if not each.ok:  # the table has said so
            outcome.failures.append(
                Failed(stage=_STAGE, host=each.host, resource=each.fault, reason=each.why)
            )


def _fail(outcome: Outcome, emit: Emit, fault: ProvisionError) -> None:
    failure = Failed(
        stage=_STAGE, host="", resource="", reason=fault.reason, hint=fault.hint, exit_code=fault.exit_code
    )
    outcome.failures.append(failure)
    emit(failure)


def gate_of_new(prepared: Prepared, pool: Pool, emit: Emit, watch: Watch) -> str:
    """The quick faults, for load balancers that are new. What is said of them; "" where they were not tried. Raises
    ProvisionError when the API does not survive one."""
    names = due(prepared)
    site = site_of(prepared, pool, emit) if names else None
    if site is None or site.vip is None:
        return ""
    _check_started(site, watch)
    report = try_faults(site, names, quick=True)
    for each in report.faults:
        if each.outage > _SURVIVED or (each.twice and not each.ok):
            raise ProvisionError(
                f"the API does not survive on {each.host}: {each.fault}: {each.why}",
                "look at `journalctl -u api-load-balancer -u keepalived` on the load balancers",
            )
        if not each.ok:
            emit(Note(message=f"{each.fault} on {each.host}: {_seen(each)}; {each.why}", level="warning"))
    return "; ".join(f"{each.fault}: {_seen(each)}" for each in report.faults)


def due(prepared: Prepared) -> tuple[str, ...]:
    """All of them while nobody uses the address yet: no node has joined, or no load balancer was there before. Where
    one comes to others that are at work, or an earlier version has made them and tried nothing, a hand-over alone, of
    which clients notice no more than a new connection. A run that ended before that leaves it to the next one."""
    balancers, owned = prepared.cluster.balancers if prepared.cluster else [], prepared.memory.owned
    known = [owned.get(host, {}) for host in balancers]
    if not prepared.established or not any(BALANCES in each for each in known):
        return GATE
    return GATE[:1] if any(_TRIED not in each for each in known) else ()


def _check_started(site: Site, watch: Watch) -> None:
    """What this run has started there must have lasted until we end it. Raises ProvisionError."""
    watch.wait()
    for host in site.balancers:
        for each in watch.ask(host, AGE):
            raise ProvisionError(f"{host}: {each.resource} {each.reason}\n{each.stderr}".rstrip(), each.hint)


def _seen(fault: FaultEnded) -> str:
    return f"{fault.outage:.1f} s, {fault.failed} failed"
