"""`plan`: read, compare, and hand the value over."""

from __future__ import annotations

import time
from dataclasses import replace

from provisioner.action.load import Request, load
from provisioner.action.pending import write_pending
from provisioner.action.prepare import Prepared, connect, prepare
from provisioner.engine.events import Emit, Note, Progress, RunStarted, Step
from provisioner.engine.plan import Plan
from provisioner.engine.planner import Planner
from provisioner.remote.pool import Pool

_EMPTY = Note(
    message="the selection is empty: on the chosen hosts no resource belongs to the chosen stages and tags",
    level="warning",
    hint="`provision plan --help` tells what --limit, --tags and --stage choose",
)


def make_plan(request: Request, emit: Emit, *, keep: bool = False) -> Plan:
    """The plan; nothing is changed and no lock is taken. Raises ProvisionError.

    `keep`: it will be carried out later, so the keys that it promises to a new cluster are kept until then.
    """
    loaded = load(request)
    emit(RunStarted(run=loaded.run, command="plan", inventory=str(request.inventory), hosts=loaded.hosts))
    with connect(loaded) as pool:
        prepared = prepare(loaded, pool, emit)
        if keep and prepared.fresh:
            write_pending(prepared.fresh.uuid, prepared.fresh.to_json())
        return plan_of(prepared, pool, emit)


def plan_of(prepared: Prepared, pool: Pool, emit: Emit, *, texts: bool = True) -> Plan:
    """Probes all hosts and compares."""
    began = time.monotonic()
    emit(Progress(task="read", subject=f"{len(prepared.facts)} hosts"))
    planner = Planner(pool, prepared.kinds)
    inventory = str(prepared.loaded.request.inventory)
    plan = planner.plan(prepared.desired, inventory=inventory, inputs=prepared.inputs, texts=texts)
    emit(
        Step(
            task="read",
            subject=f"{plan.resources} resources",
            seconds=time.monotonic() - began,
            changed=False,
        )
    )
    if not plan.resources:
        emit(_EMPTY)
    return replace(plan, selection=_selection(prepared))


def _selection(prepared: Prepared) -> dict[str, object]:
    request = prepared.loaded.request
    return {
        "identity": prepared.fresh.uuid if prepared.fresh else None,
        "limit": request.limit,
        "tags": sorted(request.selection.tags),
        "stages": sorted(request.selection.stages),
        "playbook": str(request.playbook) if request.playbook else None,
    }
